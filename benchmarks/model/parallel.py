"""Collective traffic of a step by mesh view, against the lower bound.

python -m lengthwise.benchmarks.model.parallel [--topologies=v5e:2x4] [--config=CONFIG ...]

Each bucket's real step is compiled for TPUs that aren't at hand, which needs libtpu
(docs/plans/README.md). Bytes are what one chip receives (train/plan/collectives.py): of an
all-gather or a reduce-scatter the parts of the other chips, of an all-reduce twice that, loops by
their trip count. The bound is that of train/plan/communication.py.

The compiler may write a reduce-scatter or an all-gather as an all-reduce whose result it cuts, or
whose operand it fills with zeros. "Requested" counts those as what they stand for, "received" as
what they are. Whatever exceeds the bound of its kind is named.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections.config_flags import config_flags

from lengthwise.app.command import flag_command
from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.configs.resolve import load
from lengthwise.model.spec import ModelSpec
from lengthwise.train.mesh import ViewShape
from lengthwise.train.plan.collectives import Collective, collectives
from lengthwise.train.plan.communication import Need, least_traffic
from lengthwise.train.plan.planner import topology_devices
from lengthwise.train.plan.shape import planned_phases, vocabulary
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.execution import BucketExecution

_TOPOLOGIES = flags.DEFINE_list("topologies", ["v5e:2x4", "v5e:16x16"], "Slices to compile for.")
_BUCKETS = flag_command.define_numbers(
    "buckets", [512, 32768], "Of the config's first phase.", lower_bound=1
)
ALLOWED = 1.1  # of the bound


_CONFIG = config_flags.DEFINE_config_file(
    "config", str(Path(__file__).with_name("parallel_config.py")), "The model, and its batches."
)


@dataclass(frozen=True)
class KindTraffic:
    """The collectives of one kind in a step."""

    count: int
    needed: float  # bytes, the bound
    requested: float  # bytes, with what stands for another kind counted as that
    received: float  # bytes of what stands for it, as it is


def stands_for(collective: Collective, view: ViewShape) -> str:
    """The kind that the program requested where the compiler made this one."""
    called_for = (view.tensor > 1 and collective.group == view.tensor) or view.slices > 1
    if collective.kind != "all-reduce" or called_for or is_vector(collective):
        return collective.kind
    return "all-gather" if collective.fills else "reduce-scatter"


def is_vector(collective: Collective) -> bool:
    """Whether it carries a scalar, or one number a channel, row or layer's channel."""
    return collective.size <= 4 * (1 << 16)


def by_kind(
    in_step: list[tuple[Collective, int]], needs: list[Need], view: ViewShape
) -> dict[str, KindTraffic]:
    kinds: dict[str, KindTraffic] = defaultdict(lambda: KindTraffic(0, 0, 0, 0))
    for need in needs:
        old = kinds[need.kind]
        kinds[need.kind] = KindTraffic(
            old.count, old.needed + need.bytes, old.requested, old.received
        )
    for collective, count in in_step:
        kind = stands_for(collective, view)
        requested = collective.bytes / (1 if kind == collective.kind else 2)
        old = kinds[kind]
        kinds[kind] = KindTraffic(
            old.count + count,
            old.needed,
            old.requested + count * requested,
            old.received + count * collective.bytes,
        )
    return dict(kinds)


def uncalled(
    in_step: list[tuple[Collective, int]], kinds: dict[str, KindTraffic], view: ViewShape
) -> list[str]:
    """Names of what the bound of its kind does not explain, and of what stands for another kind."""
    lines = []
    total = sum(sent.needed for sent in kinds.values())
    for collective, count in sorted(in_step, key=lambda pair: -pair[0].bytes * pair[1]):
        kind = stands_for(collective, view)
        sent = kinds[kind]
        much = count * collective.bytes > 0.001 * total
        what = f"{count} x {collective.kind} {collective.shape} over {collective.group}"
        if much and kind != collective.kind:
            extra = count * collective.bytes / 2e9
            lines.append(f"the compiler's: {what} for a {kind}, {extra:.3f} GB more than that")
        elif much and sent.requested > ALLOWED * sent.needed:
            source = f", {collective.source}" if collective.source else ""
            lines.append(
                f"not called for?: {what}, {count * collective.bytes / 1e9:.3f} GB{source}"
            )
    return lines


def report(
    name: str,
    model: ModelSpec,
    length: int,
    batch: int,
    execution: BucketExecution,
    hlo: str,
) -> bool:
    """Prints a view's table; returns whether what is requested is within the bound."""
    needs, view = least_traffic(model, length, batch, execution), execution.view
    in_step = collectives(hlo)
    kinds = by_kind(in_step, needs, view)
    needed, requested, received = (
        sum(getattr(sent, part) for sent in kinds.values())
        for part in ("needed", "requested", "received")
    )
    print(f"\n### {name}, bucket {length:,}: {view}, remat {execution.remat}\n")
    print("| collective | times a step | bound, GB | requested, GB | received, GB |")
    print("|---|---:|---:|---:|---:|")
    for kind, sent in sorted(kinds.items()):
        sizes = " | ".join(f"{x / 1e9:.3f}" for x in (sent.needed, sent.requested, sent.received))
        print(f"| {kind} | {sent.count} | {sizes} |")
    print(f"| all | | {needed / 1e9:.3f} | {requested / 1e9:.3f} | {received / 1e9:.3f} |")
    if needed:  # one chip receives nothing
        print(f"| of the bound | | | {requested / needed:.3f} | {received / needed:.3f} |\n")
    for need in needs:
        print(f"- bound: {need.purpose}: {need.kind}, {need.bytes / 1e9:.3f} GB")
    for line in uncalled(in_step, kinds, view):
        print(f"- {line}")
    return requested <= ALLOWED * needed


def main(_: list[str]) -> int:
    config = _CONFIG.value
    lengths = _BUCKETS.value
    within = True
    for topology in ProgressBar(_TOPOLOGIES.value, desc="slices", unit="slice"):
        experiment = load(config, None)
        devices = topology_devices(topology)
        phases = planned_phases(experiment.phases)[:1]
        if missing := set(lengths) - set(phases[0].lengths):
            known = ", ".join(map(str, phases[0].lengths))
            raise UserError(f"--buckets={min(missing)} is no bucket of the config; it has {known}")
        vocab_size = vocabulary(experiment.data)
        blueprint = Blueprint(experiment, phases, vocab_size, devices)
        for length in ProgressBar(lengths, desc=topology, unit="bucket"):
            key = (0, length)
            program: Any = blueprint.compile_step(key)
            batch = phases[0].batch_size(length)
            execution = blueprint.executions[key]
            within &= report(topology, blueprint.model, length, batch, execution, program.as_text())
    print(f"\nrequested within {ALLOWED - 1:.0%} of the bound in all views: {within}")
    return 0 if within else 1


if __name__ == "__main__":
    flag_command.run(main)
