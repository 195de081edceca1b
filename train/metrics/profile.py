"""Profile of chosen steps: a timeline of devices and host for TensorBoard."""

import contextlib
import dataclasses
from pathlib import Path

import jax

from lengthwise.common.errors import UserError


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """Which steps are traced."""

    steps: tuple[int, ...]  # the first and the last one, as metrics.jsonl numbers them; (): none

    def check(self, total_steps: int) -> None:
        """Checks the steps against those of the run.

        Raises:
          UserError: not two, not in order, or beyond the run's end.
        """
        if not self.steps:
            return
        if len(self.steps) != 2 or not 1 <= self.steps[0] <= self.steps[1] <= total_steps:
            raise UserError(
                f"profile.steps={self.steps} must be the first and the last traced step, "
                f"in order, from 1 to {total_steps}; for example (10, 12)"
            )


class Profiler:
    """Traces the chosen steps into a TensorBoard log directory, one file a host.

    A run that goes on in the middle of them traces the rest.
    """

    def __init__(self, config: ProfileConfig, directory: Path):
        self._first, self._last = config.steps or (1, 0)
        self._directory = directory
        self._tracing = contextlib.ExitStack()
        self.active = False

    def start_before(self, step: int) -> None:
        """Starts tracing where `step` is the first of the chosen ones that this run does."""
        if not self.active and self._first <= step <= self._last:
            self._tracing.enter_context(jax.profiler.trace(str(self._directory)))
            self.active = True

    def ends_at(self, step: int) -> bool:
        """Whether `step` is the last traced one; its metrics must be fetched before `close`."""
        return self.active and step == self._last

    def close(self) -> None:
        """Writes the trace; also where the run ended before the last chosen step."""
        self._tracing.close()
        if self.active:
            print(f"profile: {self._directory / 'plugins' / 'profile'}", flush=True)
        self.active = False
