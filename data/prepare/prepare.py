"""Opens a token store, building it where it is missing or continuing where interrupted."""

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.common.files import TEMPORARY
from lengthwise.common.hub import HUB
from lengthwise.common.paths import user_path
from lengthwise.data.config import DataConfig, check, content
from lengthwise.data.prepare.corpus_scan import local_edges
from lengthwise.data.prepare.store_builder import StoreBuilder
from lengthwise.data.prepare.unit_records import BUILDING
from lengthwise.data.prepare.worker_pool import choose_workers, worker_pool
from lengthwise.data.store import token_store
from lengthwise.data.store.document_tables import FOLDER
from lengthwise.data.store.token_store import TokenStore
from lengthwise.data.store.tokenizers import is_file, load_tokenizer

LOCK = "lock"


def build_locally(config: DataConfig, directory: Path) -> None:
    """Builds the store with local processes. Raises UserError as `StoreBuilder`."""
    builder = StoreBuilder(config, directory)
    num_bytes = sum(unit.num_bytes for unit in builder.units)
    workers = choose_workers(config.workers, len(builder.units), num_bytes)
    with worker_pool(workers) as pool:
        builder.build(pool, local_edges)


def prepare(
    config: DataConfig,
    directory: Path,
    build: Callable[[DataConfig, Path], None] = build_locally,
) -> TokenStore:
    """Opens the store at `directory`, building it with `build` first where it is missing.

    One process at a time prepares; others wait for it. Killed at any moment, the next call keeps
    the units that were finished and still are what the source holds. A finished store may lie on
    a read-only file system, and its source may be gone.

    Raises:
      UserError: impossible settings, missing, empty or broken corpus, a store of other settings
        or a damaged one at `directory`, no room to write.
    """
    check(config)
    manifest, building = directory / token_store.MANIFEST, directory / BUILDING
    if not manifest.exists() or building.exists():
        with _locked(directory):
            if not manifest.exists():
                build(config, directory)
            _check_same(config, directory)
            if building.exists():  # also after a kill while this was tidying up
                _tidy(directory)
    _check_same(config, directory)
    return TokenStore.open(directory, verify=config.verify)


def _check_same(config: DataConfig, directory: Path) -> None:
    """Raises UserError when the finished store was built with other settings."""
    manifest = token_store.read_manifest(directory)
    different = "choose another directory or delete this one"
    expected = content(config)
    mixed = {True: "data.mixture", False: "one source (data.source), without data.mixture"}
    several = len(manifest.domains) > 1
    if several != (len(config.sources) > 1):
        domains = ", ".join(manifest.domains)
        raise UserError(
            f"{directory} holds a token store made from {mixed[several]} (domains: {domains}), but "
            f"this config has {mixed[not several]}; {different}"
        )
    for name in {**expected, **manifest.config}:
        if manifest.config.get(name) != expected.get(name):
            raise UserError(
                f"{directory} holds a token store with data.{name}={manifest.config.get(name)!r}, "
                f"not {expected.get(name)!r}; {different}"
            )
    if config.tokenizer.startswith(HUB):
        return  # the store has a copy; no start looks the name up again
    if is_file(config.tokenizer) and user_path(config.tokenizer, "data.tokenizer").exists():
        description = load_tokenizer(config.tokenizer, config.end_of_text_token).describe()
        if description != manifest.tokenizer:
            raise UserError(
                f"{directory} holds a token store of {manifest.tokenizer}, but {config.tokenizer} "
                f"is now {description}; {different}"
            )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / LOCK).touch()
    except OSError as error:
        raise UserError(f"cannot write in the folder {directory}: {error.strerror}") from error
    with open(directory / LOCK, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that prepares {directory}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tidy(directory: Path) -> None:
    """Removes files that a finished store does not name."""
    manifest = token_store.read_manifest(directory)
    named = {directory / shard.name for shard in manifest.shards}
    for path in (directory / token_store.SHARDS).iterdir():
        if path not in named:
            path.unlink()
    for folder in (directory, directory / FOLDER):
        for path in folder.glob(f"*{TEMPORARY}"):
            path.unlink()
    shutil.rmtree(directory / BUILDING)
