"""Formats with intermediate steps: scratchpads of addition, five-part scratchpad, TAIL traces.

Each turns the steps of a task's trace into symbols that stand before the answer, behind which "=>"
stands. A model's answer is right only with its work.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lengthwise.data.tasks.sequences import NONE, join, squeeze, within
from lengthwise.data.tasks.symbols import Symbols
from lengthwise.data.tasks.task import Problems, Task, Trace

NAMES = ("=>", "<step>", "|", "A", "C", "->", "[", "]", ",", "+", "=", "END", "next")
SCRATCHPAD_PARTS = ("input", "computation", "output", "variables", "remaining")
TAIL_PARTS = ("transition", "atomic", "fetcher")

# Blocks of each step, ids [N, S, K], -1 where nothing is written.
Blocks = list[np.ndarray]


def with_work(
    task: Task,
    problems: Problems,
    answer: np.ndarray,
    symbols: Symbols,
    steps: Callable[[Task, Problems, Trace, Symbols], Blocks],
) -> np.ndarray:
    """The answer behind the steps that `steps` writes."""
    assert task.trace is not None
    trace = task.trace(problems)
    blocks = np.concatenate(steps(task, problems, trace, symbols), axis=2)
    work = np.where(within(trace.steps, blocks.shape[1])[:, :, None], blocks, NONE)
    return join(squeeze(work.reshape(len(work), -1)), symbols["=>"], answer)


def _fixed(trace: Trace, *ids: int) -> np.ndarray:
    """The same ids in every step."""
    shape = (*trace.read.shape[:2], len(ids))
    return np.broadcast_to(np.array(ids, np.int32), shape)


def _translate(task: Task, symbols: Symbols, *arrays: np.ndarray) -> Blocks:
    names = (*task.alphabet, *task.trace_symbols)
    return [symbols.translate(array, names) for array in arrays]


def simple_addition(task: Task, problems: Problems, trace: Trace, symbols: Symbols) -> Blocks:
    """A -> 5 , C -> 1 of each place, from the right (Lee et al. 2023, arXiv 2307.03381)."""
    output, carry = _translate(task, symbols, trace.output, trace.variables)
    to, comma, step = symbols["->"], symbols[","], symbols["<step>"]
    return [
        _fixed(trace, symbols["A"], to),
        output,
        _fixed(trace, comma, symbols["C"], to),
        carry,
        _fixed(trace, step),
    ]


def detailed_addition(task: Task, problems: Problems, trace: Trace, symbols: Symbols) -> Blocks:
    """Rest of both numbers, answer and carry so far, sum of a place (Lee et al. 2023, as above).

    [ 1 2 8 ] + [ 3 6 7 ] , A = [ ] , C = 0 , 8 + 7 + 0 = 1 5 , A -> 5 , C -> 1
    """
    assert problems.numbers is not None
    a, b = problems.numbers.operands
    output, carry, computation = _translate(
        task, symbols, trace.output, trace.variables, trace.computation
    )
    zero = symbols["0"]
    before = np.concatenate([np.full_like(carry[:, :1], zero), carry[:, :-1]], axis=1)
    step_S1 = np.arange(trace.read.shape[1])[:, None]

    def rest(digits_NW: np.ndarray) -> np.ndarray:
        """Digits of places not yet added, [N, S, W]."""
        place = (
            np.count_nonzero(digits_NW >= 0, axis=1)[:, None] - 1 - np.arange(digits_NW.shape[1])
        )
        left = np.where(place[:, None, :] >= step_S1, digits_NW[:, None, :], NONE)
        return _translate(task, symbols, left)[0]

    # The answer so far, its newest digit first.
    places = step_S1 - 1 - np.arange(trace.read.shape[1])
    so_far = np.where(places >= 0, output[:, np.maximum(places, 0), 0], NONE)
    left, right, comma, equals = (symbols[name] for name in "[],=")
    to, A, C = symbols["->"], symbols["A"], symbols["C"]
    return [
        _fixed(trace, left),
        rest(a),
        _fixed(trace, right, symbols["+"], left),
        rest(b),
        _fixed(trace, right, comma, A, equals, left),
        so_far,
        _fixed(trace, right, comma, C, equals),
        before,
        _fixed(trace, comma),
        computation,
        _fixed(trace, comma, A, to),
        output,
        _fixed(trace, comma, C, to),
        carry,
        _fixed(trace, symbols["<step>"]),
    ]


def five_parts(
    parts: Sequence[str],
) -> Callable[[Task, Problems, Trace, Symbols], Blocks]:
    """The scratchpad of Kazemnejad et al. 2023 (arXiv 2305.19466) with some of its parts."""

    def steps(task: Task, problems: Problems, trace: Trace, symbols: Symbols) -> Blocks:
        later = trace.consumed[:, None, :] > np.arange(trace.read.shape[1])[:, None]
        left = np.where(later, problems.prompt[:, None, :], NONE) if "remaining" in parts else None
        of = {
            "input": trace.read,
            "computation": trace.computation,
            "output": trace.output,
            "variables": trace.variables,
            "remaining": left,
        }
        written = []
        for part in SCRATCHPAD_PARTS:
            array = of[part]
            if part in parts and array is not None:
                written += [*_translate(task, symbols, array), _fixed(trace, symbols["|"])]
        return [*written, _fixed(trace, symbols["<step>"])]

    return steps


def tail(parts: Sequence[str]) -> Callable[[Task, Problems, Trace, Symbols], Blocks]:
    """A trace in the manner of TAIL (arXiv 2507.13332).

    fetcher: a step begins with the operands that it reads. atomic: then comes the one operation on
    them, and, at the end, what follows: the next step or the END. Without, there is its result
    alone. transition: all steps are written; without, of two steps only the second is, and the
    last.
    """

    def steps(task: Task, problems: Problems, trace: Trace, symbols: Symbols) -> Blocks:
        read, computation, output, variables = _translate(
            task, symbols, trace.read, trace.computation, trace.output, trace.variables
        )
        step = np.arange(read.shape[1])
        last = (step == trace.steps[:, None] - 1)[:, :, None]
        bar = _fixed(trace, symbols["|"])
        written = [read, bar] if "fetcher" in parts else []
        if "atomic" in parts:
            written += [computation, bar]
        written += [output, variables, _fixed(trace, symbols["<step>"])]
        if "atomic" in parts:
            control = np.where(last, symbols["END"], symbols["next"])
            written.insert(-1, control.astype(np.int32))
        if "transition" not in parts:
            kept = last | (step % 2 == 1)[:, None]
            written = [np.where(kept, block, NONE) for block in written]
        return written

    return steps
