"""Layout index of a large corpus: time to build, size, time to open.

python -m lengthwise.benchmarks.data.layout_index [--documents=100_000_000] [--directory=DIR]

Lengths are synthetic, as on the web: log-normal with a mean of 600 tokens and a heavy tail. Each
layout is built in a process of its own, so that the peak memory is its own too. The table of
documents itself, 8 bytes each, is in memory as it is in a run.
"""

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.data.layouts import LayoutConfig, build_layout

_DOCUMENTS = flags.DEFINE_integer("documents", 100_000_000, "Documents.", lower_bound=1000)
_DIRECTORY = flags.DEFINE_string("directory", "runs", "Where the indices are written for a while.")

MEAN_TOKENS, SIGMA = 600, 1.3  # of the log-normal; 0.3 % of the documents pass 8,192 tokens
LOOKUPS = 1000
LAYOUTS: dict[str, dict] = {
    "decompose, tails packed": {},
    "pack": {"name": "pack"},
}


class SyntheticDocuments:
    """Consecutive documents of web-like lengths, all of one domain."""

    domains = ("all",)

    def __init__(self, count: int):
        rng = np.random.default_rng(0)
        self.offsets = np.zeros(count + 1, np.int64)
        for first in range(0, count, 1 << 22):
            part = self.offsets[1:][first : first + (1 << 22)]
            sizes = rng.lognormal(np.log(MEAN_TOKENS) - SIGMA**2 / 2, SIGMA, part.size)
            part[:] = np.maximum(2, sizes)
        np.cumsum(self.offsets, out=self.offsets)
        self.fingerprint = f"synthetic {count}"

    def select(self, first: int, last: int) -> np.ndarray:
        return np.arange(first, last)

    def domain_of(self, ids: np.ndarray) -> np.ndarray:
        return np.zeros(ids.size, np.uint16)

    def group_of(self, ids: np.ndarray) -> np.ndarray:
        return np.zeros(ids.size, np.uint64)


def layout_config(**changes: object) -> LayoutConfig:
    """Decompose from 256 to 8,192 tokens, with changes."""
    fields: dict = {
        "name": "decompose",
        "targets": "all",
        "smallest_bucket": 256,
        "largest_bucket": 8192,
        "cut": "longest_first",
        "tails": "pack",
        "mixture": "natural",
        "shares": (),
        "document_mask": True,
        "join_order": "random",
        "window_start": 0,
        "window_rate": 0.0,
        "block_tokens": 1 << 31,
    }
    return LayoutConfig(**(fields | changes))


def measure(title: str, count: int, directory: Path) -> None:
    documents = SyntheticDocuments(count)
    config = layout_config(**LAYOUTS[title])
    start = time.perf_counter()
    layout = build_layout(config, documents, 0, directory)
    built = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    start = time.perf_counter()
    layout = build_layout(config, documents, 0, directory)
    opened = time.perf_counter() - start
    rng = np.random.default_rng(1)
    rows = {n: rng.integers(0, b.rows, LOOKUPS) for n, b in layout.buckets.items() if b.rows}
    start = time.perf_counter()
    for length, of_bucket in rows.items():
        layout.buckets[length].pieces(of_bucket)
    looked_up = (time.perf_counter() - start) / len(rows)
    account = layout.accounting
    print(
        f"{title}: {count:,} documents, {account.document_tokens / 1e9:.1f}e9 tokens, "
        f"{account.sequences:,} rows, padded {account.share_padded:.4%}\n"
        f"  built in {built:.1f} s, peak memory {peak / 1e9:.2f} GB, {size / 1e9:.2f} GB on disk\n"
        f"  opened in {1e3 * opened:.1f} ms, {LOOKUPS:,} random rows in {1e3 * looked_up:.1f} ms",
        flush=True,
    )


def main(_: list[str]) -> None:
    Path(_DIRECTORY.value).mkdir(parents=True, exist_ok=True)
    for title in LAYOUTS:
        with tempfile.TemporaryDirectory(dir=_DIRECTORY.value) as directory:
            arguments = (title, _DOCUMENTS.value, Path(directory))
            process = multiprocessing.get_context("spawn").Process(target=measure, args=arguments)
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)


if __name__ == "__main__":
    flag_command.run(main)
