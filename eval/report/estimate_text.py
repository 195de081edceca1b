"""Estimates as text: numbers with the digits that their intervals allow."""

from __future__ import annotations

from dataclasses import dataclass

from lengthwise.eval.losses.results import BOUNDARY_GAP, GAIN, ResultRow


@dataclass(frozen=True)
class IntervalCell:
    """One estimate as text. verdict: of a gain beyond L_train, else empty."""

    value: str
    interval: str
    verdict: str


def gain_text(row: ResultRow) -> str:
    """A gain with its sign."""
    return number(row.value, decimals(row.low, row.high), signed=True)


def decimals(low: float, high: float) -> int:
    """Three to six: two digits of half the interval, and an end that is not zero looks like none
    where the interval leaves zero out."""
    half_width = (high - low) / 2
    places = next((d for d in (3, 4, 5) if half_width >= 2 * 10.0**-d), 6) if half_width else 3
    near = min(abs(low), abs(high))
    if low <= 0 <= high:
        return places
    return next((d for d in range(places, 6) if round(near, d)), 6)


def number(value: float, places: int, *, signed: bool = False) -> str:
    """Formats with `places` decimals and a true minus sign."""
    text = f"{value:{'+' if signed else ''}.{places}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def cell(row: ResultRow, *, verdict: str | None = None) -> IntervalCell:
    """Value and interval; gains carry their sign."""
    signed = row.metric in (GAIN, BOUNDARY_GAP)
    places = decimals(row.low, row.high)
    value, low, high = (number(x, places, signed=signed) for x in (row.value, row.low, row.high))
    return IntervalCell(value, f"[{low}, {high}]", verdict or row.verdict or "")


def ratio_text(ratio: float) -> str:
    """1/4x, 1x, 2x."""
    inverse = 1 / ratio
    if ratio < 1 and inverse == int(inverse):
        return f"1/{int(inverse)}x"
    return f"{ratio:g}x"
