import dataclasses
import sys
from pathlib import Path

import pytest

from lengthwise.data.layouts import build_layout, config
from tests.data.layouts.layout_cases import DECOMPOSE, MemoryDocuments, rows_of

HALVES = '''
import numpy as np
from lengthwise.data.layouts.config import Layout, register
from lengthwise.data.layouts.rows import CellRows, make_pieces

@register
class FirstHalves(Layout):
    """The first half of each document, padded."""
    name = "first_halves"

    def joins_documents(self, length):
        return False

    def lay_out(self, cell, documents, seed, plan):
        length, tokens = self.config.largest_bucket, cell.tokens // 2
        offsets = np.arange(tokens.size + 1)
        pieces = make_pieces(cell.starts, tokens)
        rows = CellRows.of(length, cell.starts[:0], offsets, pieces, joined=False)
        return {length: rows}, int((cell.tokens - tokens).sum())

    def notes(self, buckets, dropped):
        yield f"{dropped} targets are dropped: second halves"
'''


def test_a_layout_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first_halves.py").write_text(HALVES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(config, "_CLASSES", config.layout_classes())
    __import__("first_halves")
    try:
        halves = dataclasses.replace(DECOMPOSE, name="first_halves", largest_bucket=32)
        index = build_layout(halves, MemoryDocuments([20, 64]), seed=0)
    finally:
        del sys.modules["first_halves"]
    assert [pieces for _, _, pieces in rows_of(index)] == [[(0, 10)], [(20, 32)]]
    assert index.accounting.notes == ("42 targets are dropped: second halves",)
