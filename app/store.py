"""Token store of a run."""

from collections.abc import Callable
from pathlib import Path

from lengthwise.common.paths import user_path
from lengthwise.configs.base import RunConfig
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.contamination import LIST
from lengthwise.data.prepare.prepare import build_locally, prepare
from lengthwise.data.store.token_store import TokenStore
from lengthwise.train.machine.processes import first_alone


def open_store(
    experiment: RunConfig,
    workdir: Path,
    build: Callable[[DataConfig, Path], None] = build_locally,
) -> TokenStore:
    """Opens the token store, made by `build` where it is missing."""
    own = experiment.data.store
    directory = user_path(own, "data.store") if own else workdir / "store"
    store = first_alone(lambda: prepare(experiment.data, directory, build))
    manifest = store.manifest
    print(
        f"corpus: {manifest.source}; {manifest.num_documents:,} documents, "
        f"{manifest.num_tokens:,} tokens, fingerprint {manifest.corpus_fingerprint}"
    )
    if experiment.data.verify:
        print(f"corpus: checksums of {len(manifest.shards):,} shards agree")
    for reason, count in manifest.skipped.items():
        print(f"corpus: left out {count:,}: {reason}")
    for message in manifest.bad_records:
        print(f"corpus: bad record: {message}")
    if unknown := manifest.unknown_text:
        print(
            f"corpus: {unknown['characters']:,} characters of {unknown['documents']:,} documents "
            f"have no token under {manifest.tokenizer}, such as "
            + ", ".join(map(repr, unknown["examples"]))
        )
    for name, overlap in manifest.contamination.items():
        print(
            f"contamination: {name}: {overlap['contaminated']:,} of {overlap['documents']:,} "
            f"documents contaminated, {overlap['too_short']:,} too short to check, "
            f"{overlap['found']:.2%} of all n-grams are in the training text "
            f"({directory / LIST} lists the documents)"
        )
    return store
