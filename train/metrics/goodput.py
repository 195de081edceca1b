"""Account of a run's wall time by cause; goodput is the share in steps that the state holds.

Every second since the first start has exactly one cause. What a process had counted by a checkpoint
is in the checkpoint, so that the account goes on over restarts.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

CAUSES = (
    "steps",  # steps that the state still holds
    "start",  # from the start of training in a process to its first step, apart from those below
    "compile",
    "restore",  # restoring or initializing
    "evaluation",
    "saving",  # until the state is copied and training goes on; at the end, until it is on disk
    "data_wait",  # waiting for a batch that came after the device had run dry
    "lost",  # steps, and what came between them, that a kill or a rollback threw away
    "down",  # from a process's last sign of life to the start of training in the next
)


class Goodput:
    """An account of wall time. One cause at a time; `state` goes into each checkpoint."""

    def __init__(self, clock: Callable[[], float] = time.time, *, runs: int = 1):
        """Args:
        clock: seconds, the same for all processes of the run's life.
        runs: how many share the time: each has so many parts of it.
        """
        self._clock = clock
        self._runs = runs
        self._seconds = dict.fromkeys(CAUSES, 0.0)
        self._cause = "start"
        self._began = self._since = clock()

    @contextlib.contextmanager
    def spent_on(self, cause: str) -> Iterator[None]:
        """Counts the time inside under `cause`; where nested, not under the outer cause."""
        self._settle()
        before, self._cause = self._cause, cause
        try:
            yield
        finally:
            self._settle()
            self._cause = before

    def begin_steps(self) -> None:
        """Counts time without another cause as steps from here on."""
        self._settle()
        self._cause = "steps"

    def count_data_wait(self, seconds: float) -> None:
        """Moves the last `seconds` from steps to waiting for data."""
        self._settle()
        seconds = min(seconds / self._runs, self._seconds["steps"])
        self._seconds["steps"] -= seconds
        self._seconds["data_wait"] += seconds

    def _settle(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._since)  # a clock may be set back
        self._seconds[self._cause] += passed / self._runs
        self._since = now

    def state(self) -> dict[str, Any]:
        """The JSON part of a checkpoint."""
        self._settle()
        return {"time": self._since, "seconds": dict(self._seconds)}

    def resume(self, saved: dict[str, Any] | None, last_seen: float | None) -> None:
        """Continues the account of an earlier process.

        Args:
          saved: the checkpoint's `state`; None: one from before there were accounts.
          last_seen: when the earlier process wrote its last row; None where it wrote none.
        """
        if saved is None:
            return
        gap = max(0.0, self._began - saved["time"])
        lost = min(gap, max(0.0, (last_seen or saved["time"]) - saved["time"]))
        for cause, seconds in saved["seconds"].items():
            self._seconds[cause] += seconds
        self._seconds["lost"] += lost / self._runs
        self._seconds["down"] += (gap - lost) / self._runs

    def roll_back(self, saved: dict[str, Any] | None) -> None:
        """Counts the steps since the checkpoint with this `state` as lost."""
        self._settle()
        valid = saved["seconds"]["steps"] if saved else 0.0
        self._seconds["lost"] += max(0.0, self._seconds["steps"] - valid)
        self._seconds["steps"] = min(self._seconds["steps"], valid)

    def figures(self) -> dict[str, float]:
        """Fields of a row: `wall_seconds`, `goodput` (their share in steps), seconds by cause.

        All are this run's part of the time that `runs` runs share.
        """
        self._settle()
        wall = sum(self._seconds.values())
        by_cause = {f"{cause}_seconds": seconds for cause, seconds in self._seconds.items()}
        return {
            "wall_seconds": wall,
            "runs": self._runs,
            "goodput": self._seconds["steps"] / max(wall, 1e-9),
        } | by_cause
