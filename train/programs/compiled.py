"""A compiled step per (phase, bucket), compiled ahead of the run or in a background thread.

On an accelerator all are compiled before step 0, so that running out of memory shows at once and
not hours into a growing curriculum. On a CPU the first one needed comes first and a thread
compiles the others behind it.
"""

import concurrent.futures
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from lengthwise.common.interruption import interruption_point
from lengthwise.common.progress import ProgressBar

Key = TypeVar("Key", bound=Hashable)
Executable = TypeVar("Executable")
_SECONDS_BETWEEN = 0.2  # looks for a reason not to wait on


def resolve_compile_mode(requested: str, platform: str) -> str:
    """ "ahead" or "behind", of one of `train.config.COMPILE_MODES`."""
    if requested != "auto":
        return requested
    return "behind" if platform == "cpu" else "ahead"


class CompiledSteps(Generic[Key, Executable]):
    """Executables by key, compiled by one background thread.

    Args:
      compile_one: lowers and compiles one; called once a key.
      keys: all keys, the first one needed first.
      ahead: compile all in the constructor, else the first, and the rest in a thread.
    """

    def __init__(
        self, compile_one: Callable[[Key], Executable], keys: Sequence[Key], *, ahead: bool
    ):
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._futures = {key: self._pool.submit(compile_one, key) for key in keys}
        awaited = keys if ahead else keys[:1]
        try:
            for key in ProgressBar(
                awaited, desc="compiling", unit="step", disable=len(awaited) < 2
            ):
                self._futures[key].result()
        except BaseException:
            # Out of memory in one bucket must not wait for the compilation of all others.
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise

    def __getitem__(self, key: Key) -> Executable:
        """The executable; waits for the compiling thread where it is not done yet.

        Raises Interruption where the wait is to be given up.
        """
        future = self._futures[key]
        while not future.done():
            concurrent.futures.wait([future], _SECONDS_BETWEEN)
            interruption_point()
        return future.result()

    def __len__(self) -> int:
        """Number of keys, compiled or not."""
        return len(self._futures)

    def __enter__(self) -> "CompiledSteps[Key, Executable]":
        return self

    def __exit__(self, *_: object) -> None:
        """Drops the rest of the queue; what is being compiled is waited for by nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)
