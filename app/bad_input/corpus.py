"""A corpus of a case: prepared as a run does it, and compared with what was put in."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthwise.app.bad_input.case import SilentLossError
from lengthwise.common.trees import build
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.token_store import TokenStore


def prepared(folder: Path, **fields: object) -> TokenStore:
    """The token store of these settings, in `folder`, with all that takes time turned off."""
    quick = {"near_duplicate_threshold": 0.0, "workers": 1}
    return prepare(build(DataConfig, {**quick, **fields}, "data"), folder / "store")


def texts_of(store: TokenStore) -> list[str]:
    """The documents of a store of bytes."""
    tokenizer, offsets = store.tokenizer(), store.document_offsets.tolist()
    spans = itertools.pairwise(offsets)
    return [tokenizer.decode(store.read(start, end - start)) for start, end in spans]


def check_count(store: TokenStore, items: int) -> None:
    """Raises SilentLossError where `items` are neither documents nor counted as left out."""
    skipped: Mapping[str, int] = store.manifest.skipped
    there = store.manifest.num_documents + sum(skipped.values())
    if there != items:
        raise SilentLossError(f"of {items} items {there} are documents or counted: {skipped}")


def check_texts(store: TokenStore, *allowed: Sequence[Any]) -> None:
    """Raises SilentLossError where the documents are none of the `allowed` lists of texts."""
    texts = texts_of(store)
    if texts not in [list(each) for each in allowed]:
        raise SilentLossError(f"{len(texts)} documents, but other ones than were written")
