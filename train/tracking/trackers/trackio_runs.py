"""trackio: a local database of runs (`trackio show`), or a Space of the Hugging Face hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthwise.train.tracking.registry import TRACKERS
from lengthwise.train.tracking.tracker import (
    Tracker,
    figures,
    require,
    run_config,
    run_name,
    service,
)

_ADVICE = "name a Space that your Hugging Face login may write to, or none to stay local"


@TRACKERS.register("trackio")
@dataclass
class Trackio(Tracker):
    """A run of trackio; a later start goes on in it."""

    project: str = "lengthwise"  # that lists the run
    space: str = ""  # OWNER/NAME of a Space; empty: the local database, in TRACKIO_DIR

    def check(self) -> None:
        require("trackio", "trackio")

    def open(self, workdir: Path, step: int) -> None:
        import trackio

        self._step = step
        with service("trackio", _ADVICE):
            self._run = trackio.init(
                project=self.project,
                name=run_name(workdir, "trackio"),
                space_id=self.space or None,
                config=run_config(workdir),
                resume="allow",
                embed=False,
            )

    def write(self, row: Mapping[str, Any]) -> None:
        self._run.log(figures(row), step=row["step"])

    def summarize(self, figures: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        import trackio

        images = {name: trackio.Image(str(path)) for name, path in pictures.items()}
        self._run.log({**figures, **images}, step=self._step)

    def close(self) -> None:
        self._run.finish()
