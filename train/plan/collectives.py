"""Collectives of a compiled module, each as often as it is run.

A collective in the body of a loop counts as often as the loop goes round: what its condition
compares the counter with, which jax's loops begin at 0. One that runs beside computing stands in
each of the fusions that it runs beside, as one chain, and counts once; so does one that begins
before a loop and goes on beside it, and stands in both. (A channel names no collective: all that
are written by hand have the same one.)
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_OPERATION = re.compile(r"= (.*?) (" + "|".join(KINDS) + r")(-start)?\(%?([\w.\-]*)", re.ASCII)
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_WHILE = re.compile(r" while\(.*?condition=%?([\w.\-]+), body=%?([\w.\-]+)")
_CALL = re.compile(r"(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CHAIN = re.compile(r"chain_id=\"(\d+)\"")
_LIMIT = re.compile(r" [su]32\[\]\S* constant\((\d+)\)")
_BELOW = re.compile(r"^\s*ROOT .* compare\(.*direction=LT")
_PARTITIONS = re.compile(r"num_partitions=(\d+)")
_LISTED = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_IOTA = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")
_OF_MESH = re.compile(r"'(\w+)'=(\d+)")
_AXIS = re.compile(r"'(\w+)'(?::\(\d+\)(\d+))?")
_NAME = re.compile(r'op_name="([^"]*)"')
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8, "s64": 8}


@dataclass(frozen=True)
class Collective:
    """A collective operation of a compiled module."""

    kind: str
    shape: str  # of the result, such as bf16[768,2048]
    size: int  # bytes of the largest array: the gathered one, or the one that is reduced
    group: int  # devices
    # What a device must receive: all of the rest of an array that it gathers or sums parts of,
    # and twice that for one that it sums and then has whole (Patarasuk & Yuan, 2009).
    bytes: int
    fills: bool  # an all-reduce of parts set among zeros: a gathering
    source: str = field(compare=False)  # the end of jax's name for it


@dataclass
class Traffic:
    """Collectives of one kind that a device takes part in, in a run of the module."""

    count: int = 0
    bytes: int = 0  # received, see Collective


# How often each collective is run, by the number of its chain, or by its line where it has none.
_Runs = dict[tuple[int | str, Collective], int]


def traffic(hlo: str) -> dict[str, Traffic]:
    """Collectives by kind of a module's text, after optimization; see `collectives`."""
    total: dict[str, Traffic] = defaultdict(Traffic)
    for collective, count in collectives(hlo):
        total[collective.kind].count += count
        total[collective.kind].bytes += count * collective.bytes
    return dict(total)


def collectives(hlo: str) -> list[tuple[Collective, int]]:
    """Each collective of a module's text, after optimization, and how often it is run.

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
    partitions = _PARTITIONS.search(hlo)
    devices = int(partitions.group(1)) if partitions else 1
    memo: dict[str, _Runs] = {}

    def runs(name: str) -> _Runs:
        if name not in memo:
            lines = bodies.get(name, [])
            memo[name] = _runs(lines, devices, runs, lambda n: _rounds(bodies[n]))
        return memo[name]

    return [(collective, count) for (_, collective), count in runs(entry).items()]


def _rounds(condition: list[str]) -> int | None:
    """Number of rounds of a loop with this condition; None: not stated there."""
    limits = [int(n) for line in condition for n in _LIMIT.findall(line)]
    counted = any(_BELOW.match(line) for line in condition)
    return limits[0] if counted and len(limits) == 1 else None


def _runs(
    lines: list[str],
    devices: int,
    runs: Callable[[str], _Runs],
    rounds: Callable[[str], int | None],
) -> _Runs:
    """Collectives in a run of these lines."""
    total: _Runs = {}
    for line in lines:
        collective = _collective(line, devices)
        if collective:
            chain = _CHAIN.search(line)
            total[int(chain.group(1)) if chain else line, collective] = 1
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
                rest = total.get(key)
                if rest is None or isinstance(key[0], str):
                    total[key] = (rest or 0) + times * count
                else:
                    total[key] = min(rest, times * count)
    return total


def _collective(line: str, devices: int) -> Collective | None:
    operation = _OPERATION.search(line)
    if not operation:
        return None
    shapes, kind, started, operand = operation.groups()
    arrays = _SHAPE.findall(shapes)
    if started and kind == "collective-permute":
        arrays = arrays[1:2]  # the operand, the result, and what tells that it has come
    elif started and kind != "all-reduce":
        arrays = arrays[len(arrays) // 2 :]  # the operands stand before the results
    group = _group(line, devices)
    result = sum(_size(*array) for array in arrays)
    size = result * group if kind == "reduce-scatter" else result
    if kind == "collective-permute":
        received = size
    else:
        received = size * (group - 1) // group * (2 if kind == "all-reduce" else 1)
    name = _NAME.search(line)
    dtype, dims = max(arrays, key=lambda array: _size(*array))
    return Collective(
        kind=kind,
        shape=f"{dtype}[{dims}]",
        size=size,
        group=group,
        bytes=received,
        fills=kind == "all-reduce" and "dynamic-update-slice" in operand,
        source="" if name is None else name.group(1).split("closed_call/")[-1],
    )


def _group(line: str, devices: int) -> int:
    """Number of devices that take part."""
    if listed := _LISTED.search(line):
        return listed.group(1).count(",") + 1
    if iota := _IOTA.search(line):
        return int(iota.group(1))
    if named := _MESH.search(line):
        sizes = {name: int(size) for name, size in _OF_MESH.findall(named.group(1))}
        axes: Sequence[tuple[str, str]] = _AXIS.findall(named.group(2))
        return math.prod(int(part) if part else sizes[name] for name, part in axes)
    return devices


def _size(dtype: str, dims: str) -> int:
    elements = math.prod(int(d) for d in dims.split(",") if d)
    return elements * _BYTES.get(dtype, 4)
