"""A small corpus of text files with settings for it, prepared in several units."""

import random
from pathlib import Path

import pytest

from lengthwise.data.config import DataConfig
from lengthwise.data.sources import files
from tests.data.settings import NO_CHECK, source_config


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several units from a small corpus."""
    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 4_000)


@pytest.fixture
def config(tmp_path: Path, small_units: None) -> DataConfig:
    rng = random.Random(0)
    (tmp_path / "corpus").mkdir()
    for i in range(30):
        words = [f"w{rng.randrange(500)}" for _ in range(rng.randrange(20, 300))]
        (tmp_path / "corpus" / f"{i:02d}.txt").write_text(" ".join(words))
    return DataConfig(
        **vars(source_config(path=str(tmp_path / "corpus"))),
        tokenizer="bytes",
        end_of_text_token="<|endoftext|>",
        shard_tokens=2_500,
        workers=1,
        selection_share=0.1,
        report_share=0.1,
        split_seed=0,
        near_duplicate_threshold=0.35,
        duplicates="keep",
        contamination=NO_CHECK,
        verify=True,
    )
