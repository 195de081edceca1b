"""A config that trains in seconds, and what a work directory holds afterwards."""

from lengthwise.common.trees import build
from lengthwise.configs import base
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.metrics.writer import read_rows
from lengthwise.train.rules.anomaly import AnomalyConfig
from lengthwise.train.step.settings import OptimizerConfig
from tests import tiny


def config(corpus, **changes):
    tree = tiny.get_config()
    tree.data.path = str(corpus)
    tree.model.dropout = 0.0
    tree.optimizer.learning_rate = 0.02
    tree.phase.steps = 12
    tree.phase.budget_steps = 12
    tree.phase.layout.smallest_bucket = 32
    tree.phase.layout.largest_bucket = 32
    tree.phase.layout.mixture = "natural"
    tree.train.checkpoint_every = 4
    tree.train.eval_every = 4
    tree.update_from_flattened_dict(changes)
    return tree


def rows(workdir, kind="train"):
    return [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == kind]


def steps_on_disk(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def last_state(workdir):
    """{"params": ..., "opt_state": ...} of the newest checkpoint."""
    with Checkpoints(workdir / "checkpoints", read_only=True)._manager as manager:
        return manager.restore(manager.latest_step())["state"]


def anomaly_config(**changes):
    """The rules of configs/base.py with changes."""
    tree = {**base.get_config().anomaly.to_dict(), **changes}
    return build(AnomalyConfig, tree, "anomaly")


def optimizer_config(**changes):
    """The optimizer of configs/base.py with changes."""
    tree = {**base.get_config().optimizer.to_dict(), **changes}
    return build(OptimizerConfig, tree, "optimizer")
