"""Runs an experiment and judges it.

    python -m lengthwise.experiments.run majority_parity [--scale=cpu] [--seeds=3] [--publish]

Each cell of the grid, an arm under a seed, is a normal run in a folder of its own below
DIRECTORY/NAME/SCALE. Seeds of an arm are trained together, in one program (docs/tasks.md). Killed
at any moment, the same command goes on: finished cells are kept, a cell that was cut short goes on
from its last checkpoint. Then results.json, table.md and
accuracy.png are written there; with --publish also docs/reproductions/ and, out of all that lies
there, docs/reproductions.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from lengthwise.app import shell
from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.eval.report.style import LIGHT, png_bytes
from lengthwise.experiments.cells import run_cells
from lengthwise.experiments.definition import Experiment
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.page import DOCS, PAGE, STORED, page, section
from lengthwise.experiments.picture import draw
from lengthwise.experiments.results import Results, collect, save


def _line(experiment: Experiment) -> str:
    return f"{experiment.name} ({', '.join(experiment.scales)}): {experiment.question}"


def _parser() -> shell.ArgumentParser:
    parser = shell.ArgumentParser(
        prog="python -m lengthwise.experiments.run",
        description=__doc__,
        epilog="experiments:\n" + "".join(f"  {_line(each)}\n" for each in EXPERIMENTS.values()),
        formatter_class=shell.HelpFormatter,
    )
    parser.add_argument("name", help="one of those below")
    parser.add_argument(
        "--scale", default="cpu", help="cpu | h200 | pod, where there is such a one"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each arm; they are 0, 1, ...")
    parser.add_argument(
        "--together",
        type=int,
        default=10,  # docs/benchmarks.md
        help="seeds of an arm that are trained in one program, at most; 1: one run after the other",
    )
    parser.add_argument("--directory", default="runs/experiments", help="where runs are kept")
    parser.add_argument("--publish", action="store_true", help="also write docs/reproductions")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    asked = _parser().parse_args(arguments)
    if asked.name not in EXPERIMENTS:
        raise UserError(f"{asked.name} is no experiment; choose one of {', '.join(EXPERIMENTS)}")
    if asked.seeds < 1:
        raise UserError(f"--seeds={asked.seeds} must be at least 1")
    if asked.together < 1:
        raise UserError(f"--together={asked.together} must be at least 1")
    directory = Path(asked.directory) / asked.name / asked.scale
    return run(
        EXPERIMENTS[asked.name],
        asked.scale,
        asked.seeds,
        directory,
        together=asked.together,
        publish_in=DOCS if asked.publish else None,
    )


def run(
    experiment: Experiment,
    scale: str,
    seeds: int,
    directory: Path,
    *,
    together: int = 1,
    publish_in: Path | None = None,
) -> int:
    """Runs what is missing, writes results and prints the table; returns the exit status.

    Args:
      together: see `run_cells`.
      publish_in: the folder of docs.
    """
    cells = experiment.cells(scale, seeds)
    print(f"{len(cells)} cells; seeds of an arm trained together: {min(together, seeds)}")
    status = run_cells(cells, directory, together)
    if status:
        print(f"ended by a signal; the same command goes on, from checkpoints below {directory}")
        return status
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    results = collect(experiment, scale, seeds, directory, device)
    picture = png_bytes(draw(experiment, results, LIGHT), LIGHT)
    save(results, directory / "results.json")
    atomic_write(directory / "accuracy.png", [picture])
    text = section(experiment, results, "accuracy.png")
    atomic_write(directory / "table.md", [text.encode()])
    if publish_in is not None:
        publish(results, picture, publish_in)
    print(text)
    print(f"verdict: {results.verdict(experiment)}; {directory / 'table.md'}")
    return 0


def publish(results: Results, picture: bytes, docs: Path) -> None:
    """Stores results and picture, then writes the page of all that is stored."""
    name = f"{results.experiment}-{results.scale}"
    save(results, docs / STORED / f"{name}.json")
    atomic_write(docs / STORED / f"{name}.png", [picture])
    atomic_write(docs / PAGE, [page(EXPERIMENTS, docs / STORED).encode()])


if __name__ == "__main__":
    shell.run_command(lambda: main(sys.argv[1:]))
