"""The compiled steps of the plans against their bounds, a line a bucket.

python -m lengthwise.benchmarks.train.plan_bounds [--plans=docs/plans/dd_1b-v5e-256.json]

Reads plans that the TPU compiler has accepted (docs/plans/README.md). HBM at the peak is the
compiler's, by the estimate that ranked the executions; received bytes are counted in the compiled
module, by the bound of train/plan/communication.py. FLOPs are analytic, since the compiler counts
the body of a loop once: with what is recomputed, by those of a step that recomputes nothing. An
all-reduce moves twice the bytes of the gathering or the sum into parts that was requested: half of
its bytes are "of all-reduces", whatever else is above the bound is "other".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.common.errors import UserError
from lengthwise.configs import dd
from lengthwise.configs.resolve import load
from lengthwise.model.spec import ModelSpec
from lengthwise.train.mesh import ViewShape
from lengthwise.train.plan.chips import GIB, chip_of
from lengthwise.train.plan.communication import least_traffic
from lengthwise.train.plan.cost import cost
from lengthwise.train.plan.shape import vocabulary
from lengthwise.train.programs.execution import BucketExecution, read_plan

HERE = Path(dd.__file__).parents[1]
_PLANS = flags.DEFINE_list(
    "plans",
    [
        str(HERE / "docs" / "plans" / f"dd_{name}.json")
        for name in ("160m-v5e-256", "410m-v5e-256", "1b-v5e-256", "1b_long-v5p-128", "7b-v5p-128")
    ],
    "Plans of sizes of configs/dd.py, named dd_SIZE-SLICE.json.",
)


@dataclass(frozen=True)
class Bounded:
    """One bucket's compiled step; of one chip."""

    size: str
    length: int
    flops: tuple[float, float]  # computed, bound
    hbm: tuple[float, float]  # bytes at the peak: the compiler's, estimated
    received: tuple[float, float]  # bytes: of the module, bound
    of_all_reduces: float  # bytes received above the bound because an all-reduce stands for less
    seconds: tuple[float, float]  # at peak: computing, the traffic between chips

    @property
    def excess(self) -> float:
        """Seconds at peak of what is received above the bound."""
        received, bound = self.received
        return self.seconds[1] * (1 - bound / received)

    @property
    def excess_share(self) -> float:
        """`excess` by the longer of computing and traffic."""
        return self.excess / max(self.seconds)


def bounded(plan: dict[str, Any], size: str) -> list[Bounded]:
    """The rows of a plan. Raises UserError as configs do."""
    config = load(dd.get_config(size), None)
    model = ModelSpec.of(config.model, vocabulary(config.data), "tpu")
    chip, rows = chip_of(plan["chip"]), []
    for row in plan["buckets"]:
        length, batch = row["length"], row["batch"]
        execution = BucketExecution(ViewShape(**row["view"]), row["microbatches"], row["remat"])
        estimate = cost(model, length, batch, execution)
        needed = sum(need.bytes for need in least_traffic(model, length, batch, execution))
        kinds = {kind: traffic["bytes"] for kind, traffic in row["collectives"].items()}
        received = sum(kinds.values())
        rows.append(
            Bounded(
                size,
                length,
                (estimate.flops, row["model_flops"] / plan["devices"]),
                (row["hbm_bytes"], estimate.hbm_bytes),
                (received, needed),
                kinds.get("all-reduce", 0) / 2,
                (row["seconds_at_peak"]["compute"], received / chip.link_bytes_per_second),
            )
        )
    return rows


def line(row: Bounded) -> str:
    received, needed = row.received
    other = received - needed - row.of_all_reduces
    return (
        f"| {row.size} | {row.length:,} | {row.flops[0] / 1e12:,.2f} | "
        f"{row.flops[0] / row.flops[1]:.2f} | {row.hbm[0] / GIB:.1f} | "
        f"{row.hbm[0] / row.hbm[1]:.2f} | {received / 1e9:,.2f} | {received / needed:.2f} | "
        f"{row.of_all_reduces / 1e9:,.2f} | {other / 1e9:,.2f} | "
        f"{1e3 * row.seconds[0]:,.1f} | {1e3 * row.seconds[1]:,.1f} |"
    )


def main(_: list[str]) -> None:
    rows: list[Bounded] = []
    for name in _PLANS.value:
        path = Path(name)
        if not path.exists():
            raise UserError(f"--plans={name} is no file")
        rows += bounded(read_plan(path), path.stem.removeprefix("dd_").partition("-")[0])
    print(
        "| size | bucket | TFLOPs a chip | of the bound | HBM, GiB | of the estimate "
        "| received, GB | of the bound | above it: of all-reduces | other | computing, ms "
        "| traffic, ms |\n|---" + "|---:" * 11 + "|"
    )
    print("\n".join(map(line, rows)))
    print("\nThe most time above a bound, by the step at peak; one bucket a size:")
    by_share = sorted(rows, key=lambda row: row.excess_share)
    largest = {row.size: row for row in by_share}
    for row in sorted(largest.values(), key=lambda row: -row.excess_share)[:3]:
        print(
            f"- {row.size}, bucket {row.length:,}: {1e3 * row.excess:,.1f} ms of traffic above "
            f"the bound beside {1e3 * row.seconds[0]:,.1f} ms of computing"
        )


if __name__ == "__main__":
    flag_command.run(main)
