"""From the command to the first step, by parts: a first start and one that goes on.

python -m lengthwise.benchmarks.app.startup [--rounds=5] [--config=PATH] [--against=CHECKOUT]

The token store is prepared, the programs are compiled: what is left are imports, checks, the
layout, the first state or the checkpoint's, and programs out of the cache. Starts alternate between
the two kinds, and with the code of another checkout where one is named. Processor time, of all
threads, is what to compare on a busy machine; the threads that compile the other buckets' programs
behind the first one are in it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.app import start_parts
from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.configs import base

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Starts of each kind.", lower_bound=1)
_CONFIG = flags.DEFINE_string("config", "configs/bytes.py", "Config file of the run.")
_AGAINST = flags.DEFINE_string("against", None, "Another checkout, started in turns with this one.")

HERE = Path(base.__file__).parents[1]
STEPS = 2  # when the run that goes on was killed
KINDS = ("first start", "goes on")
Parts = list[tuple[str, float, float]]  # name, wall seconds, processor seconds


class Checkout:
    """Code to start, with a store, compiled programs and a killed run of its own."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder
        self.killed = folder / "killed"
        self.arguments = [
            f"--config={_CONFIG.value}",
            f"--config.data.store={folder / 'store'}",
            f"--config.train.compilation_cache={folder / 'compiled'}",
            f"--config.train.checkpoint_every={STEPS}",
        ]
        folder.mkdir()
        run = self._start([str(root / "main.py")], self.killed)
        while not (self.killed / "checkpoints" / str(STEPS)).exists():
            if run.poll() is not None:
                raise UserError(f"the run of {root} ended: {self._errors()}")
            time.sleep(0.05)
        run.kill()
        run.communicate()

    def _errors(self) -> str:
        return (self.folder / "errors").read_text(errors="replace")[-2000:]

    def _start(self, program: list[str], workdir: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *program, f"--workdir={workdir}", *self.arguments],
            cwd=self.root,
            env={
                **os.environ,
                "PYTHONPATH": str(self.root),
                start_parts.BEGAN: str(time.time()),
            },
            stdout=subprocess.PIPE,
            stderr=(self.folder / "errors").open("wb"),
        )

    def parts(self, kind: str) -> Parts:
        """One start, to its first step."""
        workdir = self.folder / "run"
        shutil.rmtree(workdir, ignore_errors=True)
        if kind == "goes on":
            shutil.copytree(self.killed, workdir)
        run = self._start([start_parts.__file__], workdir)
        output = run.communicate()[0].decode()
        if run.returncode:
            raise RuntimeError(f"a start ended with status {run.returncode}: {self._errors()}")
        parts: Parts = json.loads(output.splitlines()[-1])
        return parts


def table(rounds: dict[tuple[str, str], list[Parts]]) -> str:
    """Medians of the rounds: wall and processor seconds, a column for each code and kind."""
    lines = [
        "| part | " + " | ".join(f"{name}, {kind}" for name, kind in rounds) + " |",
        "|---|" + "---|" * len(rounds),
    ]
    names = [name for name, _, _ in next(iter(rounds.values()))[0]]
    seconds = {
        key: np.array([[row[1:] for row in parts] for parts in rounds[key]]) for key in rounds
    }
    for number, name in enumerate(names):
        cells = (np.median(each[:, number], axis=0) for each in seconds.values())
        lines.append(f"| {name} | " + " | ".join(f"{w:.2f} ({p:.2f})" for w, p in cells) + " |")
    totals = (each.sum(axis=1) for each in seconds.values())
    cells = (
        f"{np.median(each[:, 0]):.2f} ({np.median(each[:, 1]):.2f}), at best {each[:, 0].min():.2f}"
        for each in totals
    )
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        roots = {"this": HERE}
        if _AGAINST.value:
            roots = {"before": Path(_AGAINST.value).resolve(), **roots}
            if not (roots["before"] / "main.py").exists():
                raise UserError(f"--against={_AGAINST.value} is no checkout: it has no main.py")
        checkouts = {name: Checkout(root, Path(temporary) / name) for name, root in roots.items()}
        rounds: dict[tuple[str, str], list[Parts]] = {
            (name, kind): [] for name in checkouts for kind in KINDS
        }
        for name, kind in rounds:  # what a first start or a resumed one alone compiles
            checkouts[name].parts(kind)
        for _ in ProgressBar(range(_ROUNDS.value), desc="rounds"):
            for name, kind in rounds:
                rounds[name, kind].append(checkouts[name].parts(kind))
        print("Seconds of wall time, in brackets of processor time; medians.")
        print(table(rounds))


if __name__ == "__main__":
    flag_command.run(main)
