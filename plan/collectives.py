"""Collectives of a compiled module, each as often as it is run.

A collective in the body of a loop counts as often as the loop goes round: what its condition
compares the counter with, which jax's loops begin at 0. One that runs beside computing stands in
each of the fusions that it runs beside, under one channel, and counts once; so does one that begins
before a loop and goes on beside it, and stands in both.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_OPERATION = re.compile(r"= (.*?) (" + "|".join(KINDS) + r")(-start)?\(", re.ASCII)
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_WHILE = re.compile(r" while\(.*?condition=%?([\w.\-]+), body=%?([\w.\-]+)")
_CALL = re.compile(r"(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_LIMIT = re.compile(r" [su]32\[\]\S* constant\((\d+)\)")
_BELOW = re.compile(r"^\s*ROOT .* compare\(.*direction=LT")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8, "s64": 8}


@dataclass
class Traffic:
    """What a device does of one kind of collective in a run of the module."""

    count: int = 0
    bytes: int = 0  # of the results


@dataclass(frozen=True)
class _Collective:
    kind: str
    bytes: int


# How often each collective is run, by its channel, or by its line where it has none.
_Runs = dict[tuple[str, _Collective], int]


def traffic(hlo: str) -> dict[str, Traffic]:
    """Collectives by kind of a module's text, after optimization.

    Raises:
      ValueError: a loop with a collective whose number of rounds the compiler doesn't write.
    """
    bodies: dict[str, list[str]] = {}
    entry = name = ""
    for line in hlo.splitlines():
        opened = _COMPUTATION.match(line)
        if opened:
            name = opened.group(1)
            bodies[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            bodies[name].append(line)
    found: dict[str, _Runs] = {}

    def runs(name: str) -> _Runs:
        if name not in found:
            found[name] = _runs(bodies.get(name, []), runs, lambda n: _rounds(bodies[n]))
        return found[name]

    total: dict[str, Traffic] = defaultdict(Traffic)
    for (_, collective), count in runs(entry).items():
        total[collective.kind].count += count
        total[collective.kind].bytes += count * collective.bytes
    return dict(total)


def _rounds(condition: list[str]) -> int | None:
    """How often a loop with this condition goes round; None: that is not written there."""
    limits = [int(n) for line in condition for n in _LIMIT.findall(line)]
    counted = any(_BELOW.match(line) for line in condition)
    return limits[0] if counted and len(limits) == 1 else None


def _runs(
    lines: list[str], runs: Callable[[str], _Runs], rounds: Callable[[str], int | None]
) -> _Runs:
    """What a run of these lines runs."""
    total: _Runs = {}
    for line in lines:
        operation = _OPERATION.search(line)
        if operation:
            shapes, kind, started = operation.groups()
            sizes = [_size(*shape) for shape in _SHAPE.findall(shapes)]
            # A started one gives its operands beside its results.
            size = max(sizes) if started else sum(sizes)
            channel = _CHANNEL.search(line)
            total[channel.group(1) if channel else line, _Collective(kind, size)] = 1
        times: int | None = 1
        called = _CALL.findall(line)
        loop = _WHILE.search(line)
        if loop:
            times, called = rounds(loop.group(1)), [loop.group(2)]
        for branches in _BRANCHES.findall(line):
            called += [branch.strip().lstrip("%") for branch in branches.split(",")]
        for name in called:
            for key, count in runs(name).items():
                if times is None:
                    raise ValueError(f"a loop of unknown rounds has {key[1].kind}: {name}")
                total[key] = min(total.get(key, times * count), times * count)
    return total


def _size(dtype: str, dims: str) -> int:
    elements = math.prod(int(d) for d in dims.split(",") if d)
    return elements * _BYTES.get(dtype, 4)
