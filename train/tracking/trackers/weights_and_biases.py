"""Weights & Biases: on its servers, or offline in WORKDIR/wandb until `wandb sync`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthwise.common.settings import setting
from lengthwise.train.tracking.registry import TRACKERS
from lengthwise.train.tracking.tracker import (
    Tracker,
    figures,
    require,
    run_config,
    run_name,
    service,
)

_ADVICE = "log in (wandb login), or follow offline: --config.tracking.wandb.mode=offline"


@TRACKERS.register("wandb")
@dataclass
class WeightsAndBiases(Tracker):
    """A run of Weights & Biases; a later start goes on in it."""

    project: str = "lengthwise"  # that lists the run
    entity: str = ""  # user or team; empty: that of the login
    # offline: files that `wandb sync` takes later
    mode: str = setting("online", choices=("online", "offline"))

    def check(self) -> None:
        require("wandb", "wandb")

    def open(self, workdir: Path, step: int) -> None:
        import wandb

        name = run_name(workdir, "wandb")
        with service("wandb", _ADVICE):
            self._run = wandb.init(
                project=self.project,
                entity=self.entity or None,
                id=name,
                name=name,
                dir=str(workdir),
                mode=self.mode,
                config=run_config(workdir),
                resume="allow",
                reinit="create_new",  # several runs are trained side by side
                settings=wandb.Settings(console="off", silent=True),
            )
            # Rows of steps that come again after a kill have the same numbers: over an axis of
            # their own they fall on the earlier ones, where wandb's count would refuse them.
            self._run.define_metric("step", hidden=True)
            self._run.define_metric("*", step_metric="step")

    def write(self, row: Mapping[str, Any]) -> None:
        self._run.log({**figures(row), "step": row["step"]})

    def summarize(self, figures: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        import wandb

        self._run.summary.update(dict(figures))
        if pictures:
            self._run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})

    def close(self) -> None:
        self._run.finish()
