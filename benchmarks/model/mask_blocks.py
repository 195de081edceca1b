"""Time to class the blocks of a mask and make the grids of the TPU kernel, by length.

python -m lengthwise.benchmarks.model.mask_blocks [--lengths=131072,1048576] [--block=512]
"""

import statistics
import time
from collections.abc import Callable

from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.common.errors import UserError
from lengthwise.model.attention.backends.splash import mask_grids
from lengthwise.model.attention.mask_blocks import block_classes
from lengthwise.model.attention.masks import CAUSAL, Mask

MASKS = {
    "causal": CAUSAL,
    "window 4096": Mask(window=4096),
    "window 4096, 4 sinks": Mask(window=4096, sinks=4),
    "chunks of 8192": Mask(chunk=8192),
    "prefix 8192": Mask(prefix=8192),
}
_LENGTHS = flag_command.define_numbers("lengths", [131072, 1048576], "Tokens a row.", lower_bound=1)
_BLOCK = flags.DEFINE_integer("block", 512, "Tokens a block.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Of each; the median is shown.", lower_bound=1)


def seconds(run: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(_ROUNDS.value))


def main(_: list[str]) -> None:
    block = _BLOCK.value
    for length in _LENGTHS.value:
        if length % block:
            raise UserError(f"--lengths={length} is no multiple of --block={block}")
    print("| mask | length | block classes, ms | with the kernel's grids, ms |")
    print("|---|---|---|---|")
    for name, mask in MASKS.items():
        for length in _LENGTHS.value:
            classes = seconds(lambda: block_classes(mask, length, block, block))  # noqa: B023
            # Not from its cache.
            grids = seconds(lambda: mask_grids.__wrapped__(mask, length, block, 1))  # noqa: B023
            print(f"| {name} | {length:,} | {1e3 * classes:.1f} | {1e3 * grids:.0f} |", flush=True)


if __name__ == "__main__":
    flag_command.run(main)
