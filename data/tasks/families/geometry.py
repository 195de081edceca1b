"""Corners of convex hulls on a grid, by pointers (Vinyals et al. 2015, arXiv 1506.03134)."""

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, masked, within
from lengthwise.data.tasks.task import Problems, Task

_SIDE = 16  # of the grid
_POINTS = 64
_ALPHABET = (
    *(f"x{i}" for i in range(_SIDE)),
    *(f"y{i}" for i in range(_SIDE)),
    *(f"p{i}" for i in range(_POINTS)),
)


def _make(draws: Draws, length_N: np.ndarray) -> Problems:
    width = int(length_N.max(initial=0))
    cell = masked(draws.order("points", _SIDE**2, width), length_N)
    x, y = cell // _SIDE, cell % _SIDE
    prompt = np.stack([x, _SIDE + y], axis=2)
    prompt[cell < 0] = NONE
    hull = _hull(cell, length_N)
    answer = np.where(hull >= 0, hull + 2 * _SIDE, NONE).astype(np.int32)
    return Problems(prompt.reshape(len(cell), -1).astype(np.int32), answer)


def _hull(cell_NW: np.ndarray, length_N: np.ndarray) -> np.ndarray:
    """Corners counterclockwise from the leftmost (of these the lowest) on, by gift wrapping."""
    rows, width = np.arange(len(cell_NW)), cell_NW.shape[1]
    x, y = cell_NW // _SIDE, cell_NW % _SIDE
    inside = within(length_N, width)
    first_N = np.where(inside, cell_NW, _SIDE**2).argmin(axis=1)
    hull = np.full((len(cell_NW), width), NONE, np.int64)
    corner_N, open_N = first_N.copy(), np.ones(len(cell_NW), bool)
    for step in range(width):
        hull[open_N, step] = corner_N[open_N]
        here = (x[rows, corner_N], y[rows, corner_N])
        best_N = first_N.copy()  # the next corner; the first one closes the hull
        for other in range(width):
            ax, ay = x[rows, best_N] - here[0], y[rows, best_N] - here[1]
            bx, by = x[:, other] - here[0], y[:, other] - here[1]
            turn = ax * by - ay * bx
            further = (turn == 0) & (bx * bx + by * by > ax * ax + ay * ay)
            better = inside[:, other] & ((turn < 0) | further | (best_N == corner_N))
            best_N = np.where(better & (other != corner_N), other, best_N)
        open_N &= (best_N != first_N) & (length_N > 1)
        if not open_N.any():
            break
        corner_N = best_N
    return hull


def _solve(prompt: list[str]) -> list[str]:
    """Andrew's monotone chain."""
    numbers = [int(symbol[1:]) for symbol in prompt]
    points = sorted(zip(numbers[::2], numbers[1::2], strict=True))
    pointer = {p: i for i, p in enumerate(zip(numbers[::2], numbers[1::2], strict=True))}

    def chain(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
        hull: list[tuple[int, int]] = []
        for px, py in points:
            while len(hull) > 1:
                (ax, ay), (bx, by) = hull[-2:]
                if (bx - ax) * (py - ay) - (by - ay) * (px - ax) > 0:
                    break
                hull.pop()
            hull.append((px, py))
        return hull[:-1]

    corners = chain(points) + chain(points[::-1]) if len(points) > 1 else points
    return [f"p{pointer[corner]}" for corner in corners]


TASKS = (
    Task(
        name="convex_hull",
        summary="different points of a 16 x 16 grid -> the corners of their hull, as pointers",
        alphabet=_ALPHABET,
        length="points",
        level="context-sensitive",
        rasp_l=None,
        make=_make,
        solve=_solve,
        max_length=_POINTS,
        source="Vinyals et al. 2015, arXiv 1506.03134",
    ),
)
