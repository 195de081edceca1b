"""Throughput of preparing a token store against the tokenizer alone, by processor time.

python -m lengthwise.benchmarks.data.prepare [--rounds=3]

The texts are the modules of the interpreter's library, 31 MB, about 18 kB each; for BPE, which
takes fifty times as long, those of its first level, 4.7 MB. One rival encodes them from memory to
arrays of the store's token type and keeps nothing; the other reads the files, encodes and writes
one file. Preparing looks for duplicates and makes checksums beside. All take one core, in turns;
times are of the processor, so that neighbours disturb them less.
"""

import contextlib
import dataclasses
import io
import os
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.workload import median_interval
from lengthwise.common.progress import ProgressBar
from lengthwise.common.texts import NotUtf8, decode_text
from lengthwise.configs import base
from lengthwise.configs.resolve import load
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.sources.text_files import StdlibSource
from lengthwise.data.store.token_store import TOKENIZER, TokenStore
from lengthwise.data.store.tokenizers import Tokenizer

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Interleaved repetitions.", lower_bound=3)

_VOCABULARY = 32_768


@dataclass(frozen=True)
class Preparing:
    """One setting of preparing, against its tokenizer alone."""

    name: str
    tokens: int
    tokens_per_second: float  # of one core, median
    ratio: tuple[float, float, float]  # prepared / encoded alone: median, 95 % interval
    copy_ratio: tuple[float, float, float]  # prepared / read, encoded and written alone


def measure(rounds: int) -> list[Preparing]:
    """Prepares with bytes, with and without looking for near-duplicates, and with BPE."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        settings = load(base.get_config(), None).data
        corpus, first_level = Path(folder) / "corpus", Path(folder) / "first level"
        corpus.mkdir()
        first_level.mkdir()
        library = Path(sysconfig.get_path("stdlib"))
        for name, path in StdlibSource(library).files():
            with contextlib.suppress(NotUtf8):
                if text := decode_text(path.read_bytes()):
                    for copies in (corpus,) if "/" in name else (corpus, first_level):
                        (copies / name.replace("/", "_")).write_bytes(text.encode("utf-8"))
        settings = dataclasses.replace(
            settings, source="text", path=str(corpus), pattern="*.py", workers=1, verify=False
        )
        trained = Path(folder) / "trained"
        for_bpe = dataclasses.replace(settings, path=str(first_level))
        _quietly(dataclasses.replace(for_bpe, tokenizer=f"train:bpe:{_VOCABULARY}"), trained)
        exact = dataclasses.replace(settings, near_duplicate_threshold=0.0)
        configs = {
            "bytes": settings,
            "bytes, exact copies alone": exact,
            "BPE": dataclasses.replace(for_bpe, tokenizer=str(trained / TOKENIZER)),
        }
        seconds: dict[str, list[list[float]]] = {name: [] for name in configs}
        tokens = {}
        for number in ProgressBar(range(rounds), "rounds"):
            for name, config in configs.items():
                start = time.process_time()
                store = _quietly(config, Path(folder) / f"{name} {number}")
                times = [time.process_time() - start]
                tokenizer, dtype = store.tokenizer(), np.dtype(store.manifest.dtype)
                files = [Path(config.path) / name for name in store.document_names]
                texts = [file.read_bytes().decode("utf-8") for file in files]
                for rival in (texts, files):
                    start = time.process_time()
                    encoded = _encode(tokenizer, rival, dtype, Path(folder) / "copy")
                    times.append(time.process_time() - start)
                    if encoded != store.manifest.num_tokens:
                        raise AssertionError("all must make the same tokens")
                tokens[name] = encoded
                seconds[name].append(times)
        return [
            Preparing(
                name,
                tokens[name],
                tokens[name] / float(np.median([times[0] for times in rows])),
                median_interval([times[1] / times[0] for times in rows]),
                median_interval([times[2] / times[0] for times in rows]),
            )
            for name, rows in seconds.items()
        ]


def _quietly(config: DataConfig, directory: Path) -> TokenStore:
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        return prepare(config, directory)


def _encode(
    tokenizer: Tokenizer, source: Sequence[str] | Sequence[Path], dtype: np.dtype, copy: Path
) -> int:
    """Tokens of texts, or of files: then also written to `copy`; returns how many."""
    total = 0
    with open(copy, "wb") as out:
        for first in range(0, len(source), 32):
            batch = source[first : first + 32]
            texts = [x if isinstance(x, str) else x.read_bytes().decode("utf-8") for x in batch]
            for item, ids in zip(batch, tokenizer.encode_batch(texts), strict=True):
                tokens = np.empty(ids.size + 1, dtype)
                tokens[:-1] = ids
                tokens[-1] = tokenizer.end_of_text
                total += tokens.size
                if isinstance(item, Path):
                    out.write(tokens.data)
    return total


def main(_: list[str]) -> None:
    print(
        "| tokenizer | M tokens/s a core, prepared | against encoding alone (95 %) "
        "| against reading, encoding, writing alone (95 %) |\n|---|---|---|---|"
    )
    for row in measure(_ROUNDS.value):
        ratios = " | ".join(
            "{:.2f} ({:.2f}-{:.2f})".format(*r) for r in (row.ratio, row.copy_ratio)
        )
        print(f"| {row.name} | {row.tokens_per_second / 1e6:.2f} | {ratios} |")


if __name__ == "__main__":
    flag_command.run(main)
