"""Runs an experiment and judges its claims.

    python -m lengthwise.experiments.run majority_parity [--scale=cpu] [--seeds=3] [--publish]

Each trial, an arm under a seed, is a normal run in a folder of its own below DIRECTORY/NAME/SCALE.
Seeds of an arm are trained together, in one program (docs/tasks.md). Killed at any moment, the same
command resumes: finished trials are kept, the others go on from their last checkpoint. At the end
it writes results.json, table.md and accuracy.png there; with --publish also docs/reproductions/
and, from all results in that folder, docs/reproductions.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from lengthwise.app.command import shell
from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.common.paths import user_path
from lengthwise.eval.report.style import LIGHT, png_bytes
from lengthwise.experiments.definition import ExperimentDefinition
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.page import DOCS, PAGE, STORED, page, section
from lengthwise.experiments.picture import draw
from lengthwise.experiments.results import ExperimentResults, collect, save
from lengthwise.experiments.trials import run_trials


def _line(experiment: ExperimentDefinition) -> str:
    return f"{experiment.name} ({', '.join(experiment.scales)}): {experiment.question}"


def _parser() -> shell.ArgumentParser:
    parser = shell.ArgumentParser(
        prog="python -m lengthwise.experiments.run",
        description=__doc__,
        epilog="experiments:\n" + "".join(f"  {_line(each)}\n" for each in EXPERIMENTS.values()),
        formatter_class=shell.HelpFormatter,
    )
    parser.add_argument("name", help="an experiment; see below")
    parser.add_argument(
        "--scale", default="cpu", help="cpu | h200 | pod, those that the experiment has"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each arm: 0, 1, ...")
    parser.add_argument(
        "--together",
        type=int,
        default=10,  # docs/benchmarks.md
        help="largest number of seeds of an arm to train in one program; 1: one after the other",
    )
    parser.add_argument("--directory", default="runs/experiments", help="the folder of all runs")
    parser.add_argument("--publish", action="store_true", help="also write docs/reproductions")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Runs the experiment that the arguments name; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.name not in EXPERIMENTS:
        raise UserError(f"{options.name} is no experiment; choose one of {', '.join(EXPERIMENTS)}")
    if options.seeds < 1:
        raise UserError(f"--seeds={options.seeds} must be at least 1")
    if options.together < 1:
        raise UserError(f"--together={options.together} must be at least 1")
    directory = user_path(options.directory, "--directory") / options.name / options.scale
    return run(
        EXPERIMENTS[options.name],
        options.scale,
        options.seeds,
        directory,
        together=options.together,
        publish_in=DOCS if options.publish else None,
    )


def run(
    experiment: ExperimentDefinition,
    scale: str,
    seeds: int,
    directory: Path,
    *,
    together: int = 1,
    publish_in: Path | None = None,
) -> int:
    """Runs missing trials, writes the results and prints the table; returns the exit status.

    Args:
      together: see `run_trials`.
      publish_in: the folder docs/ to publish in; None: nothing is published.
    """
    trials = experiment.trials(scale, seeds)
    print(f"{len(trials)} trials; seeds of an arm trained together: {min(together, seeds)}")
    status = run_trials(trials, directory, together)
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


def publish(results: ExperimentResults, picture: bytes, docs: Path) -> None:
    """Stores results and figure, then writes the page from all stored results."""
    name = f"{results.experiment}-{results.scale}"
    save(results, docs / STORED / f"{name}.json")
    atomic_write(docs / STORED / f"{name}.png", [picture])
    atomic_write(docs / PAGE, [page(EXPERIMENTS, docs / STORED).encode()])


if __name__ == "__main__":
    shell.run_command(lambda: main(sys.argv[1:]))
