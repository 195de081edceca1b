"""Resident memory of runs at their peak: imports alone, first step, whole run, a large store.

python -m lengthwise.benchmarks.app.memory [--tokens=10000000000] [--parts=imports,start,run,store]

imports: the modules of training. start: `configs/bytes.py` to the end of its first step. run: all
of it, with fewer steps: scores and report too. store: to the first step on a synthetic store of
documents of 2,000 tokens, whose shards are holes in sparse files. Each is a process of its own.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.app import start_parts
from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.configs import bytes as bytes_config
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.document_tables import TABLES, table_path, write_table
from lengthwise.data.store.shard_reader import ShardEntry
from lengthwise.data.store.token_store import MANIFEST, SHARDS, TokenStore, manifest_bytes

_TOKENS = flag_command.define_numbers("tokens", [10**10], "Of the synthetic store.", lower_bound=1)
_PARTS = flags.DEFINE_list("parts", ["imports", "start", "run", "store"], "What is measured.")

HERE = Path(bytes_config.__file__).parents[1]
DOCUMENT = 2000  # tokens
_SHARD = 5 * 10**8  # tokens
_HELD_OUT = 100  # one document in so many is of the selection split, one of the report split
_MIB = 2**20


def peak_bytes(arguments: list[str]) -> int:
    """Most resident bytes of a Python process. Raises RuntimeError where it fails."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            stdout=output,
            stderr=output,
        )
        peak = 0
        while process.poll() is None:
            # Of the status, not of wait4: that one knows the peak of this process too.
            status = Path(f"/proc/{process.pid}/status").read_text()
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    peak = int(line.split()[1]) << 10
            time.sleep(0.02)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(output.read().decode(errors="replace")[-2000:])
    return peak


def synthetic_store(folder: Path, tokens: int) -> Path:
    """A store of that many zeros, rounded up to whole shards, as `configs/bytes.py` asks for it."""
    directory = folder / "store"
    config = bytes_config.get_config()
    config.data.workers = 1
    store = prepare(load(config, None).data, directory)
    starts = np.arange(0, tokens + 1, DOCUMENT)
    count = len(starts) - 1
    splits = np.zeros(count, np.uint8)
    splits[::_HELD_OUT], splits[1::_HELD_OUT] = 1, 2
    columns: dict[str, np.ndarray] = {
        "offsets": starts,
        "splits": splits,
        "bytes": np.full(count, DOCUMENT - 1),
        "clusters": np.arange(count),
        "name_offsets": np.zeros(count + 1),
        "names": np.zeros(0),
    }
    tables = {
        table_path(name): write_table(directory, name, [columns.get(name, np.zeros(count))])
        for name in TABLES
    }
    dtype, shards = np.dtype(store.manifest.dtype), []
    for number, first in enumerate(range(0, tokens, _SHARD)):
        entry = ShardEntry(f"{SHARDS}/{number:05d}-000.bin", min(_SHARD, tokens - first), "")
        with open(directory / entry.name, "wb") as file:
            file.truncate(entry.tokens * dtype.itemsize)
        shards.append(entry)
    manifest = dataclasses.replace(
        store.manifest,
        num_documents=count,
        num_tokens=tokens,
        num_bytes=count * (DOCUMENT - 1),
        shards=tuple(shards),
        tables=tables,
    )
    atomic_write(directory / MANIFEST, [manifest_bytes(manifest)])
    TokenStore.open(directory, verify=False)
    return directory


def measure(part: str, folder: Path) -> int:
    """Peak of a part, bytes. Raises UserError for an unknown one."""
    run = [f"--workdir={folder / part}", "--config=configs/bytes.py"]
    if part == "imports":
        return peak_bytes(["-c", "import lengthwise.app.session, lengthwise.train.loop.start"])
    if part == "start":
        return peak_bytes([start_parts.__file__, *run])
    if part == "run":
        steps = [f"--config.{name}=20" for name in ("phase.steps", "train.eval_every")]
        return peak_bytes(["main.py", *run, *steps, "--config.phase.budget_steps=20"])
    if part == "store":
        (tokens,) = _TOKENS.value
        if tokens % DOCUMENT:
            raise UserError(f"--tokens={tokens} is no multiple of {DOCUMENT}")
        store = synthetic_store(folder, tokens)
        changes = {
            "data.store": store,
            "data.verify": "false",
            "phase.layout.smallest_bucket": 256,
            "phase.layout.largest_bucket": 1024,
        }
        run += [f"--config.{name}={value}" for name, value in changes.items()]
        return peak_bytes([start_parts.__file__, *run])
    raise UserError(f"--parts={part}: choose among imports, start, run, store")


def main(_: list[str]) -> None:
    print("| part | peak, MiB | beyond imports |\n|---|---|---|")
    imports = 0
    with tempfile.TemporaryDirectory() as temporary:
        for part in _PARTS.value:
            peak = measure(part, Path(temporary))
            imports = peak if part == "imports" else imports
            beyond = f"{(peak - imports) / _MIB:,.0f}" if imports else ""
            print(f"| {part} | {peak / _MIB:,.0f} | {beyond} |", flush=True)


if __name__ == "__main__":
    flag_command.run(main)
