import dataclasses

import pytest

from lengthwise.common.errors import UserError
from tests.data.layouts.layout_cases import CONCAT, DECOMPOSE, PACK, PUBLISHED, WINDOW, changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "packed"}, "concat_and_chunk, decompose, pack, pad, whole, window"),
        ({"tails": "cut"}, "pack, pad, drop"),
        ({"cut": "random"}, "longest_first, shuffled, published"),
        ({"join_order": "near"}, "random, related"),
        ({"smallest_bucket": 24}, "smallest_bucket = 24 must be a power of two"),
        ({"largest_bucket": 0}, "largest_bucket = 0 must be a power of two"),
        ({"smallest_bucket": 128}, "above layout.largest_bucket"),
        ({"mixture": "explicit", "shares": (1.0,)}, "1 shares for 4 buckets"),
        ({"block_tokens": 32}, "block_tokens = 32 is below layout.largest_bucket = 64"),
        ({"join_order": "related"}, "join_order = 'related' is only for layout.name = concat_and"),
        ({"window_start": 8}, "window_start = 8 is only for layout.name = window"),
        ({"name": "pack", "cut": "shuffled"}, "cut = 'shuffled' is only for .* decompose, not"),
        ({"name": "pack", "tails": "pad"}, "set it to 'pack' or change the layout"),
        ({"name": "pad", "mixture": "equal_tokens"}, "mixture = 'equal_tokens' is only for"),
        ({"name": "pad", "document_mask": False}, "document_mask = False is only for"),
        ({"name": "window"}, "window_start = 0 must be at least 1"),
        ({"tails": "pad", "document_mask": False}, "only for tails that share rows"),
        ({"cut": "published"}, "set layout.tails to 'drop'"),
        (
            {"cut": "published", "tails": "drop", "mixture": "equal_tokens"},
            "layout.mixture to 'natural'",
        ),
    ],
)
def test_says_what_is_wrong_with_a_config(change: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        dataclasses.replace(DECOMPOSE, **change)


def test_only_decompose_has_several_lengths() -> None:
    assert DECOMPOSE.lengths == (8, 16, 32, 64)
    assert changed(name="pack", smallest_bucket=128).lengths == (64,)


def test_the_window_grows_linearly_up_to_the_row() -> None:
    assert [WINDOW.kind.window_at(step) for step in (0, 1, 2, 55, 56, 10**9)] == [
        4, 4, 5, 31, None, None
    ]  # fmt: skip
    # The lengths of 0 to 55 in reverse, and no shorter one than a token.
    back = dataclasses.replace(WINDOW, window_start=32, window_rate=-0.5)
    assert [back.kind.window_at(step) for step in (0, 1, 2, 55, 56, 10**9)] == [
        None, 31, 31, 4, 4, 1
    ]  # fmt: skip
    assert all(config.kind.window_at(3) is None for config in (DECOMPOSE, CONCAT, PACK, PUBLISHED))
