"""Exact resume under random kills: a run killed again and again equals one left alone, bit for bit.

python -m lengthwise.benchmarks.app.chaos --kills=300 [--processes=1] [--seed=0] [--directory=DIR]

A tiny model is trained to its end and reported, over and over, until so many of its lives were cut
short: by SIGKILL, or by SIGTERM, which must end all processes within a minute. The moment comes
from the seed and the number of the kill: in start-up, compiling (with no program kept), some steps
on, inside a save, an evaluation, the scoring and drawing behind the last step, or the end. Every
finished run is compared with one left alone: rows of steps and scores, all arrays of the
checkpoints, results.json. A row a life stands in lives.jsonl; the same command goes on where an
earlier sitting ended. Exits with status 1 where anything differs or a life ended as it shouldn't.
"""

import collections
import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.app.lives import (
    differences,
    end_all,
    exit_statuses,
    log_of,
    saving,
    start_all,
    steps_logged,
    wait_until,
    write_corpus,
)
from lengthwise.common.progress import ProgressBar
from lengthwise.train.machine.processes import LOST_STATUS

_KILLS = flags.DEFINE_integer("kills", 300, "Lives that are cut short.", lower_bound=1)
_PROCESSES = flags.DEFINE_integer("processes", 1, "Processes of a life.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.", lower_bound=0)
_DIRECTORY = flags.DEFINE_string("directory", "runs/chaos", "Where all is kept.")

STEPS, SAVE_EVERY, SCORE_EVERY = 60, 5, 20
SECONDS_TO_END = 60.0
# How often a moment is aimed at, and the longest time after it, in seconds.
AIMS = {
    "start": (3, 8.0),  # of the process
    "compiling": (2, 6.0),  # the first program that is kept
    "steps": (3, 0.2),
    "save": (3, 0.03),
    "evaluation": (2, 1.0),
    "scoring": (2, 3.0),  # the last step
    "report": (2, 3.0),  # results.json
    "end": (1, 1.0),  # the card's page
}


@dataclasses.dataclass(frozen=True)
class Kill:
    """How a life is cut short."""

    aim: str
    steps: int  # beyond the furthest that the run had come
    seconds: float  # after the moment that is aimed at
    signal: str  # "SIGKILL" | "SIGTERM"
    process: int  # that gets it


def kill_of(number: int, seed: int, processes: int) -> Kill:
    """The kill of this number; the same for the same arguments."""
    rng = random.Random(f"{seed} {number}")
    (aim,) = rng.choices(list(AIMS), [weight for weight, _ in AIMS.values()])
    return Kill(
        aim=aim,
        steps=rng.randint(1, 2 * SAVE_EVERY),
        seconds=rng.uniform(0, AIMS[aim][1]),
        signal=rng.choice(("SIGKILL", "SIGKILL", "SIGTERM")),
        process=rng.randrange(processes),
    )


def run_arguments(directory: Path) -> tuple[str, ...]:
    """A model of 1 layer with dropout in two buckets."""
    return (
        "--config=configs/bytes.py",
        "--config.data.source=text",
        f"--config.data.path={directory / 'corpus'}",
        f"--config.data.store={directory / 'store'}",
        f"--config.train.compilation_cache={directory / 'compiled'}",
        "--config.model.layers=1",
        "--config.model.embed_dim=32",
        "--config.model.mlp_dim=64",
        "--config.model.dropout=0.1",
        f"--config.phase.steps={STEPS}",
        "--config.phase.tokens_per_step=512",
        "--config.phase.layout.largest_bucket=64",
        "--config.phase.layout.shares=(0.4,0.6)",
        "--config.optimizer.warmup_steps=10",
        f"--config.train.checkpoint_every={SAVE_EVERY}",
        f"--config.train.eval_every={SCORE_EVERY}",
        "--config.train.checksums=True",
        "--config.eval.documents=8",
        "--config.eval.min_documents=4",
        "--config.eval.blocks=1",
        "--config.eval.ratios=(1.0,2.0)",
        "--config.eval.methods=()",
        "--config.eval.bootstrap_samples=100",
    )


class Chaos:
    """Lives of one run in a directory, over any number of sittings."""

    def __init__(self, directory: Path, processes: int, seed: int):
        self._directory, self._processes, self._seed = directory, processes, seed
        self._lives = directory / "lives.jsonl"
        self._undisturbed, self._killed = directory / "undisturbed", directory / "killed"
        self._arguments = run_arguments(directory)
        write_corpus(directory / "corpus")

    def rows(self) -> list[dict[str, Any]]:
        """The lives so far."""
        if not self._lives.exists():
            return []
        return [json.loads(line) for line in self._lives.read_text().splitlines()]

    def _write(self, row: dict[str, Any]) -> None:
        with self._lives.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def run_undisturbed(self) -> None:
        """The run that is left alone, once."""
        if (self._undisturbed / "report" / "card.html").exists():
            return
        shutil.rmtree(self._undisturbed, ignore_errors=True)
        lives = start_all(self._processes, self._undisturbed, *self._arguments)
        try:
            statuses = [life.wait() for life in lives]
        finally:
            end_all(lives)
        if any(statuses):
            raise RuntimeError(f"the undisturbed run ended with {statuses}: see undisturbed.log")

    def live(self, kill: Kill | None) -> dict[str, Any]:
        """One life, cut short by `kill`, where it doesn't end before; writes its row."""
        if kill is not None and kill.aim == "compiling":
            shutil.rmtree(self._directory / "compiled", ignore_errors=True)
        began, furthest = time.monotonic(), steps_logged(self._killed)
        lives = start_all(self._processes, self._killed, *self._arguments)
        try:
            struck = kill is not None and self._strike(kill, lives, furthest)
            moment = time.monotonic()
            seconds = SECONDS_TO_END if struck else 600.0
            statuses = exit_statuses(lives, seconds)
        finally:
            end_all(lives)
        row: dict[str, Any] = {
            "kill": None if kill is None or not struck else dataclasses.asdict(kill),
            "statuses": statuses,
            "steps": steps_logged(self._killed),
            "save_under_way": saving(self._killed),
            "seconds": round(moment - began, 2),
            "seconds_to_end": round(time.monotonic() - moment, 2),
        }
        row["wrong"] = wrong_ends(kill if struck else None, statuses)
        if not any(statuses):
            row["wrong"] += differences(self._undisturbed, self._killed)
            self._killed.rename(self._directory / f"finished-{len(self.rows())}")
            row["finished"] = True
        self._write(row)
        return row

    def _strike(self, kill: Kill, lives: list[subprocess.Popen[bytes]], furthest: int) -> bool:
        """Waits for the moment and sends the signal; False where the life ended before."""
        workdir, life = self._killed, lives[kill.process]
        kept = self._directory / "compiled"
        scores = sum(1 for step in range(1, furthest + 1) if step % SCORE_EVERY == 0)
        files = workdir / "eval" / "results.json", workdir / "report" / "card.html"
        results, page = files
        before = {file: _written(file) for file in files}  # by an earlier life
        printed = log_of(workdir).stat().st_size

        def comes() -> bool:
            steps = steps_logged(workdir)
            match kill.aim:
                case "start":
                    return True
                case "compiling":
                    return any(kept.glob("*/*-cache"))
                case "steps":
                    return steps >= furthest + kill.steps
                case "save":  # what an earlier kill left is tidied away before the first step
                    return steps > furthest and saving(workdir)
                case "evaluation":
                    return steps >= (scores + 1) * SCORE_EVERY
                case "scoring":
                    if furthest < STEPS:
                        return steps == STEPS
                    return b"model: " in log_of(workdir).read_bytes()[printed:]
                case "report":
                    return _written(results) > before[results]
            return _written(page) > before[page]

        if not wait_until(life, comes):
            return False
        until = time.monotonic() + kill.seconds
        if wait_until(life, lambda: time.monotonic() >= until):
            life.send_signal(signal.Signals[kill.signal])
            return True
        return False


def wrong_ends(kill: Kill | None, statuses: Sequence[int | None]) -> list[str]:
    """What is wrong with how the processes of a life ended.

    kill: None where nothing was sent to them.
    """
    if None in statuses:
        return [f"not ended after {SECONDS_TO_END:.0f} s: {statuses}"]
    if kill is None:
        allowed = {0}
    elif kill.signal == "SIGTERM":
        allowed = {0, 128 + signal.SIGTERM}  # 0: it was about to end
    else:  # others say that one is gone, or are ended by jax for it
        allowed = {128 + signal.SIGKILL, 0, LOST_STATUS, 128 + signal.SIGABRT}
    return [] if set(statuses) <= allowed else [f"exit statuses {statuses}"]


def _written(file: Path) -> int:
    """When a file was written, in nanoseconds; 0 where there is none."""
    return file.stat().st_mtime_ns if file.exists() else 0


def table(rows: list[dict[str, Any]]) -> str:
    """Kills by aim and signal, how long SIGTERM took, and what went wrong."""
    lines = [
        "| aimed at | SIGKILL | SIGTERM | save under way | longest to the end, s | wrong |",
        "|---|---|---|---|---|---|",
    ]
    by_aim: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for row in rows:
        if row["kill"]:
            by_aim[row["kill"]["aim"]].append(row)
            by_aim["all"].append(row)
    for name in (*AIMS, "all"):
        kills = by_aim[name]
        if not kills:
            continue
        signals = collections.Counter(row["kill"]["signal"] for row in kills)
        lines.append(
            f"| {name} | {signals['SIGKILL']} | {signals['SIGTERM']} | "
            f"{sum(row['save_under_way'] for row in kills)} | "
            f"{max(row['seconds_to_end'] for row in kills):.1f} | "
            f"{sum(bool(row['wrong']) for row in kills)} |"
        )
    return "\n".join(lines)


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every checkpoint that is read
    directory = Path(_DIRECTORY.value).resolve() / f"of-{_PROCESSES.value}"
    chaos = Chaos(directory, _PROCESSES.value, _SEED.value)
    chaos.run_undisturbed()
    kills = sum(row["kill"] is not None for row in chaos.rows())
    with ProgressBar(total=_KILLS.value, initial=kills, desc="kills", unit="kill") as bar:
        while kills < _KILLS.value:
            # A life that ended before its kill doesn't count; the next one has another moment.
            number = len(chaos.rows())
            row = chaos.live(kill_of(number, _SEED.value, _PROCESSES.value))
            if row["kill"]:
                kills += 1
                bar.update()
            elif row["wrong"]:  # of itself, as the next one would be
                break
    if kills == _KILLS.value and not chaos.rows()[-1].get("finished"):
        chaos.live(None)
    rows = chaos.rows()
    print(table(rows))
    finished = sum("finished" in row for row in rows)
    wrong = [
        f"life {number}: {'; '.join(r['wrong'])}" for number, r in enumerate(rows) if r["wrong"]
    ]
    print(f"{finished} runs were finished and compared")
    if wrong:
        print("\n".join(wrong))
        sys.exit(1)


if __name__ == "__main__":
    flag_command.run(main)
