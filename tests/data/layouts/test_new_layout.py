import dataclasses
import sys
from pathlib import Path

import pytest

from lengthwise.data.layouts import build_layout
from lengthwise.data.layouts.config import LAYOUTS
from tests.data.layouts.layout_cases import DECOMPOSE, MemoryDocuments, rows_of

HALVES = '''
from dataclasses import dataclass

import numpy as np
from lengthwise.common.settings import setting
from lengthwise.data.layouts.config import LAYOUTS, Layout
from lengthwise.data.layouts.rows import CellRows, make_pieces

@LAYOUTS.register("first_halves")
@dataclass(frozen=True)
class FirstHalves(Layout):
    """The first half of each document, padded."""
    parts: int = setting(2, "[1, inf)")


    def joins_documents(self, length):
        return False

    def lay_out(self, cell, documents, seed, plan):
        length, tokens = self.config.largest_bucket, cell.tokens // self.parts
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
    monkeypatch.setattr(LAYOUTS, "_registered", LAYOUTS.import_all())
    __import__("first_halves")
    try:
        halves = dataclasses.replace(DECOMPOSE, name="first_halves", largest_bucket=32)
        index = build_layout(halves, MemoryDocuments([20, 64]), seed=0)
        sections = {"first_halves": {"parts": 4}}
        quarters, other = (
            dataclasses.replace(layout, layouts=LAYOUTS.settings(sections, "phase.layout"))
            for layout in (halves, DECOMPOSE)
        )
        smaller = build_layout(quarters, MemoryDocuments([20, 64]), seed=0)
        same = build_layout(other, MemoryDocuments([20, 64]), seed=0)
    finally:
        del sys.modules["first_halves"]
    assert [pieces for _, _, pieces in rows_of(index)] == [[(0, 10)], [(20, 32)]]
    assert [pieces for _, _, pieces in rows_of(smaller)] == [[(0, 5)], [(20, 16)]]
    # Settings of the layout that is chosen decide its rows, those of another one nothing.
    assert smaller.fingerprint != index.fingerprint
    assert same.fingerprint == build_layout(DECOMPOSE, MemoryDocuments([20, 64]), 0).fingerprint
    assert index.accounting.notes == ("42 targets are dropped: second halves",)
