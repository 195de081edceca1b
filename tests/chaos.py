"""Exact resume under random kills: a run killed again and again equals one left alone, bit for bit.

python -m tests.chaos [--kills=20] [--seed=0] [--directory=runs/chaos]

Each kill is a SIGKILL at a moment sampled from the seed: some steps beyond the furthest logged one,
inside a save, or some seconds after the start. The same command starts the run again. Compared are
the checksums of (batch, loss, parameters) after each step, the checksums of all arrays of the last
checkpoint, and the scores. Exits with status 1 where anything differs.
"""

import dataclasses
import random
import shutil
import sys
import time
from pathlib import Path

from absl import app, flags

from lengthwise.common.progress import ProgressBar
from lengthwise.train.metrics.writer import read_rows
from tests.killed_run import (
    ROOT,
    array_checksums,
    finish,
    kill_when,
    saving,
    start,
    step_checksums,
    steps_logged,
)

_KILLS = flags.DEFINE_integer("kills", 20, "How often the run is killed.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")
_DIRECTORY = flags.DEFINE_string("directory", "runs/chaos", "Where both runs are; emptied first.")

STEPS_A_KILL = 10  # of the run's length, so that it doesn't end before the last kill
MOST_STEPS = 9  # beyond the furthest step so far, until a kill
MOST_SECONDS = 15.0  # after the start, until a kill
AIMS = ("steps", "steps", "save", "seconds")  # in these proportions


@dataclasses.dataclass(frozen=True)
class Kill:
    """When a process is killed."""

    aim: str  # "steps" | "save" | "seconds"
    steps: int  # beyond the furthest that the run had come
    seconds: float  # after the start; of a save: after it has begun

    def __str__(self) -> str:
        return {
            "steps": f"{self.steps} steps on",
            "save": f"{1000 * self.seconds:.1f} ms into a save",
            "seconds": f"{self.seconds:.1f} s after the start",
        }[self.aim]


def moments(kills: int, seed: int) -> list[Kill]:
    """The kills in order; the same for the same seed."""
    rng = random.Random(seed)
    aims = [AIMS[number % len(AIMS)] for number in range(kills)]
    rng.shuffle(aims)
    longest = {"steps": 0.0, "save": 0.03, "seconds": MOST_SECONDS}
    return [Kill(aim, rng.randint(1, MOST_STEPS), rng.uniform(0, longest[aim])) for aim in aims]


def strike(kill: Kill, workdir: Path, *arguments: str) -> bool:
    """Starts the run and kills it at the moment; False where it ended before."""
    furthest = steps_logged(workdir)
    process = start(workdir, *arguments)
    if kill.aim == "steps":
        return kill_when(process, lambda: steps_logged(workdir) >= furthest + kill.steps)
    if kill.aim == "save":
        # What an earlier kill left is tidied away before the first step.
        while process.poll() is None and steps_logged(workdir) <= furthest:
            time.sleep(0.001)
        while process.poll() is None and not saving(workdir):
            time.sleep(0.0002)
    time.sleep(kill.seconds)
    return kill_when(process, lambda: True)


def differences(undisturbed: Path, killed: Path) -> list[str]:
    """In what two finished runs are not the same."""
    found = []
    pairs = zip(step_checksums(undisturbed), step_checksums(killed), strict=True)
    unequal = [step for step, (a, b) in enumerate(pairs, start=1) if a != b]
    if unequal:
        found.append(f"batch, loss or parameters from step {unequal[0]} on")
    arrays = array_checksums(undisturbed), array_checksums(killed)
    found += [f"array {name}" for name in arrays[0] if arrays[0][name] != arrays[1].get(name)]
    scores = [
        [(r["step"], r["score"]) for r in read_rows(w / "metrics.jsonl") if r["kind"] == "eval"]
        for w in (undisturbed, killed)
    ]
    if scores[0] != scores[1]:
        found.append("scores of the selection split")
    return found


def run_arguments(store: Path, kills: int) -> tuple[str, ...]:
    """A small model with dropout, saved every 5 steps and scored every 20."""
    return (
        f"--config={ROOT / 'configs' / 'bytes.py'}",
        f"--config.data.store={store}",
        f"--config.phase.steps={STEPS_A_KILL * kills + 20}",
        "--config.phase.tokens_per_step=1024",
        "--config.model.layers=2",
        "--config.model.dropout=0.1",
        "--config.optimizer.warmup_steps=20",
        "--config.train.checkpoint_every=5",
        "--config.train.eval_every=20",
        "--config.train.checksums=True",
        "--config.eval.documents=24",
        "--config.eval.bootstrap_samples=100",
    )


def last_loss(workdir: Path) -> float:
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == "train"]
    return float(rows[-1]["loss"])


def main(_: list[str]) -> None:
    workdir = Path(_DIRECTORY.value).resolve()
    shutil.rmtree(workdir, ignore_errors=True)
    undisturbed, killed = workdir / "undisturbed", workdir / "killed"
    arguments = run_arguments(workdir / "store", _KILLS.value)
    status, output = finish(undisturbed, *arguments)
    if status:
        raise RuntimeError(f"the undisturbed run ended with status {status}:\n{output}")
    print("| kill | moment | steps logged | save under way |\n|---|---|---|---|", flush=True)
    for number, kill in enumerate(
        ProgressBar(moments(_KILLS.value, _SEED.value), desc="kills"), start=1
    ):
        if not strike(kill, killed, *arguments):
            raise RuntimeError(f"the run ended before kill {number}; raise STEPS_A_KILL")
        under_way = "yes" if saving(killed) else "no"
        ProgressBar.write(f"| {number} | {kill} | {steps_logged(killed)} | {under_way} |")
    status, output = finish(killed, *arguments)
    if status:
        raise RuntimeError(f"after the last kill the run ended with status {status}:\n{output}")
    for name, run in (("undisturbed", undisturbed), ("killed", killed)):
        print(f"{name}: {len(step_checksums(run))} steps, last loss {last_loss(run)!r} nats/token")
    found = differences(undisturbed, killed)
    arrays = len(array_checksums(killed))
    print(f"seed {_SEED.value}, {_KILLS.value} kills: ", end="")
    if found:
        print(f"DIFFERENT in {'; '.join(found)}")
        sys.exit(1)
    print(f"equal bit for bit in every step, all {arrays} arrays of the last checkpoint, scores")


if __name__ == "__main__":
    app.run(main)
