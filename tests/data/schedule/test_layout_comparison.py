import numpy as np
import pytest

from lengthwise.data.schedule.layout_comparison import (
    compare_layouts,
    comparison_table,
    exposure_table,
)
from tests.data.layouts.layout_cases import CONCAT, DECOMPOSE, PACK, PAD, PUBLISHED, MemoryDocuments


def test_what_the_published_cut_loses_stands_beside_ours() -> None:
    # 8 + 1 tokens: one chunk, end trained. 64 tokens: 32 + 16 + 8 of 63 targets, end not trained.
    configs = {"ours": DECOMPOSE, "published": PUBLISHED, "pad": PAD, "joined": CONCAT}
    ours, published, pad, joined = compare_layouts(configs, MemoryDocuments([9, 64]), seed=0)
    assert ours.share_lost == pad.share_lost == 0
    assert ours.ends_trained == pad.ends_trained == 1
    assert published.share_lost == pytest.approx((8 + 63 - 8 - 56) / 71)
    assert published.ends_trained == 0.5
    # 72 targets with the second document's first token: four rows of 16, and the end is cut off.
    assert joined.share_lost == pytest.approx(1 - 64 / 71)
    assert joined.ends_trained == 0.5
    # 63 = 32 + 31 and 8 targets: 3 rows, where 31 and 8 don't share one.
    assert (ours.excess_rows, pad.excess_rows) == (0, 0)


def test_rows_that_could_be_fewer_are_counted() -> None:
    held = MemoryDocuments([9] * 40)
    pad, pack = compare_layouts({"pad": PAD, "pack": PACK}, held, seed=0)
    assert (pad.excess_rows, pack.excess_rows) == (30, 0)


def test_the_table_has_a_line_a_layout() -> None:
    lengths = np.random.default_rng(0).integers(2, 300, 50).tolist()
    configs = {"ours": DECOMPOSE, "as published": PUBLISHED}
    results = compare_layouts(configs, MemoryDocuments(lengths), seed=0)
    _, ours, published = comparison_table(results).splitlines()
    assert ours.startswith("ours")
    assert "100.00%" in ours
    assert f"{results[1].share_lost:.3%}" in published


def test_exposure_stands_by_context_for_every_layout() -> None:
    configs = {"ours": DECOMPOSE, "joined": CONCAT}
    ours, joined = compare_layouts(configs, MemoryDocuments([33, 64]), seed=0)
    # 32 targets in one row; 63 targets as 32 + 16 + 8 and a tail of 7.
    assert ours.exposure.tolist() == [5, 5, 10, 4 * 4 + 3, 3 * 8, 2 * 16, 0]
    assert ours.exposure.sum() == ours.accounting.targets == 95
    assert joined.exposure.sum() == joined.accounting.targets
    header, line, _ = exposure_table([ours, joined], shortest=8).splitlines()
    assert header.split()[-6:] == ["to", "16", "to", "32", "to", "64"]
    assert line.split()[-4:-1] == [f"{share:.2%}" for share in (39 / 95, 24 / 95, 32 / 95)]
