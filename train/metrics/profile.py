"""Profile of chosen steps: a timeline of devices and host for TensorBoard."""

import contextlib
from pathlib import Path

import jax

from lengthwise.train.config import ProfileConfig


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
