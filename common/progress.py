"""ProgressBar of long work: a bar on a terminal, and a line now and then where there is none."""

import sys
import time
from typing import Any, ClassVar

from tqdm import tqdm

SECONDS = 30  # between the lines of one piece of work; what takes less has none


class _Nowhere:
    """The stream of a bar that nobody could see: carriage returns are no progress in a journal."""

    def write(self, _: str) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""


class ProgressBar(tqdm):
    """tqdm on a terminal. In a file, a pipe or a journal, a line every `SECONDS`:

        training: 120 of 400 step, loss 2.345, bucket 128, 12,345 tokens/s, ETA 01:20

    and a last one of what has had one before. Where training is several processes, all but the
    first are `silent`.
    """

    silent: ClassVar[bool] = False

    def __init__(self, *args: Any, **options: Any):
        self._in_lines = not sys.stderr.isatty()
        self._next_line = time.monotonic() + SECONDS
        self._has_line = False
        if self._in_lines:
            # Each update looks at the clock: tqdm would wait as many updates as came so far.
            options |= {"file": _Nowhere(), "mininterval": 1.0, "miniters": 1, "delay": 0}
        if ProgressBar.silent:
            options["disable"] = True
        super().__init__(*args, **options)

    def display(self, *args: Any, **options: Any) -> Any:
        """Draws the bar, or writes the line that is due."""
        if not self._in_lines:
            return super().display(*args, **options)
        if time.monotonic() >= self._next_line:
            self._next_line, self._has_line = time.monotonic() + SECONDS, True
            print(self._line(), file=sys.stderr, flush=True)
        return True

    def close(self) -> None:
        """Ends the bar, or the lines."""
        if self._has_line:
            self._next_line = 0.0
        super().close()

    def _line(self) -> str:
        facts = self.format_dict
        rate = "" if self.postfix else ", {rate_fmt}"
        facts["bar_format"] = "{desc}: {n_fmt} of {total_fmt} {unit}{postfix}" + rate
        if self.n < (self.total or 0):
            facts["bar_format"] += ", ETA {remaining}"
        return str(self.format_meter(**facts))
