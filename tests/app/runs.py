"""Names for the runs of these tests, and what they leave behind."""

import re
from pathlib import Path

from lengthwise.train.metrics.writer import read_rows

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "tiny.py"
BAR = re.compile(r"\d+%\||\d+it \[|/s[,\]]|, ETA [\d:?]+$")  # progress
# One bucket: compiling is what takes time here.
RUN = (
    "--config.phase.steps=12",
    "--config.phase.budget_steps=12",
    "--config.phase.layout.smallest_bucket=32",
    "--config.phase.layout.largest_bucket=32",
    "--config.phase.layout.mixture=natural",
    "--config.model.dropout=0.0",
    "--config.train.checkpoint_every=4",
    "--config.train.eval_every=4",
)


def errors_in(text):
    """The lines of stderr that are no progress bar."""
    lines = [line.strip() for line in re.split(r"[\r\n]", text)]
    return [line for line in lines if line and not BAR.search(line)]


def steps_on_disk(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def losses(workdir):
    rows = read_rows(workdir / "metrics.jsonl")
    return {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}


def score_of_step(self, params, step):
    """What `Scoring.probe` gives in runs that are about training alone."""
    return {"stopping_score": float(step)}
