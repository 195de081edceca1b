"""`python main.py` in this process up to its first step, timed by parts; prints them as JSON.

python -m lengthwise.benchmarks.app.start_parts --config=... --workdir=... [--config.FIELD=VALUE]

Parts are [name, wall seconds, processor seconds], one after the other and none inside another; the
first begins at the Unix time in BEGAN, before the process was there. Ends the process after the
first step, as a kill would.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from lengthwise.app.command import cli

BEGAN = "LENGTHWISE_BENCHMARK_BEGAN"  # in the environment


class Parts:
    """The parts so far. `end` closes one that began where the last one ended."""

    def __init__(self, began: float):
        self._wall, self._processor = began, 0.0
        self.rows: list[tuple[str, float, float]] = []

    def end(self, name: str) -> None:
        wall, processor = time.time(), time.process_time()
        self.rows.append((name, wall - self._wall, processor - self._processor))
        self._wall, self._processor = wall, processor

    def ending_with(self, owner: Any, name: str, part: str, begins: str = "") -> None:
        """Makes a call of `owner.name` a part; what came before it is one named `begins`."""
        call: Callable = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if begins:
                self.end(begins)
            result = call(*args, **kwargs)
            self.end(part)
            return result

        setattr(owner, name, timed)


PARTS = Parts(float(os.environ.get(BEGAN, str(time.time()))))


run = cli._run


def run_to_first_step(*command: Any) -> int:
    """`cli._run`, timed."""
    PARTS.end("python, flags")
    from lengthwise.app import modes, session
    from lengthwise.train.loop import start
    from lengthwise.train.programs.steps import SingleSteps

    PARTS.end("imports")
    PARTS.ending_with(session.Session, "check", "checks")
    PARTS.ending_with(modes, "open_store", "token store")
    PARTS.ending_with(session, "Phases", "layout, schedule")
    PARTS.ending_with(session, "Setup", "blueprint")
    PARTS.ending_with(session, "device_peak", "matmul peak", begins="what is scored")
    PARTS.ending_with(start, "_starts", "first state or restore", begins="checkpoints")
    PARTS.ending_with(start, "_programs", "first program")
    PARTS.ending_with(SingleSteps, "batches", "rows, signals")
    step = SingleSteps.step

    def first_step(*args: Any) -> Any:
        PARTS.end("first batch")
        _, metrics = step(*args)
        float(metrics[-1]["loss"])
        PARTS.end("first step")
        print(json.dumps(PARTS.rows), flush=True)
        os._exit(0)

    SingleSteps.step = first_step  # type: ignore[assignment,method-assign]
    return run(*command)


if __name__ == "__main__":
    cli._run = run_to_first_step  # type: ignore[assignment]
    cli.entry()
    sys.exit("the run had no step left")
