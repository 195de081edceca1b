import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.store.splits import Split
from lengthwise.eval import config as config_module
from lengthwise.eval.losses.targets import choose_targets
from tests.eval.planted import Documents, eval_config


def numbered_documents(lengths, *, clusters=None, split=Split.REPORT):
    """Tokens are their own global position, so that a row tells where it was read."""
    texts = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    return Documents(texts, [split] * len(lengths), clusters or list(range(len(lengths))))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=4, max_size=12),
    context=st.integers(8, 40),
    targets=st.integers(1, 8),
    blocks=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_blocks_have_room_are_disjoint_and_shared_by_every_context(
    lengths, context, targets, blocks, seed
):
    config = eval_config(
        targets_per_block=targets, blocks=blocks, seed=seed, min_documents=1, documents=100
    )
    source = numbered_documents(lengths)
    enough = [i for i, n in enumerate(lengths) if n >= context + 1]
    if not enough:
        with pytest.raises(UserError):
            choose_targets(source, Split.REPORT, context, config)
        return
    chosen = choose_targets(source, Split.REPORT, context, config)
    np.testing.assert_array_equal(chosen.documents_N, enough)

    everything = slice(None)
    ends = chosen.row_ends(targets)
    np.testing.assert_array_equal(ends, chosen.block_end_R)
    long_rows = chosen.rows(ends, context)  # Documents.read refuses to leave a document
    assert long_rows.shape[1] == context + 1
    targets_of_long = long_rows[:, -targets:]
    for shorter in {targets, (targets + context) // 2}:
        rows = chosen.rows(ends, shorter)
        assert rows.shape[1] == shorter + 1
        np.testing.assert_array_equal(rows[:, -targets:], targets_of_long)
        np.testing.assert_array_equal(np.diff(rows), 1)  # consecutive tokens
    assert len(np.unique(targets_of_long)) == targets_of_long.size, "targets overlap"
    for per_row in (n for n in range(1, targets + 1) if targets % n == 0):
        rows = chosen.rows(chosen.row_ends(per_row), per_row)  # the same targets, fewer a row
        np.testing.assert_array_equal(rows[:, 1:].reshape(-1, targets), targets_of_long)
    for i, document in enumerate(chosen.documents_N):
        room = (lengths[document] - 1 - context) // targets + 1
        assert (chosen.block_document_R == i).sum() == min(blocks, room)
    starts = source.document_offsets[chosen.documents_N]
    np.testing.assert_array_equal(chosen.openings(everything, context)[:, 0], starts)


def test_blocks_reach_both_ends_of_a_document():
    """Over many seeds the first and the last possible target block are both chosen."""
    source = numbered_documents([63, 63])
    ends = set()
    for seed in range(200):
        config = eval_config(targets_per_block=4, blocks=1, min_documents=1, seed=seed)
        ends.update(choose_targets(source, Split.REPORT, 40, config).block_end_R % 63)
    assert min(ends) == 40
    assert max(ends) == 62


def test_different_clusters_come_first_and_near_duplicates_count_once():
    clusters = [0] * 10 + [1, 2, 3]
    source = numbered_documents([50] * 13, clusters=clusters)
    config = eval_config(documents=4, min_documents=4, targets_per_block=4)
    chosen = choose_targets(source, Split.REPORT, 40, config)
    assert sorted(chosen.clusters_N) == [0, 1, 2, 3]
    with pytest.raises(UserError, match="4 independent documents"):
        choose_targets(source, Split.REPORT, 40, eval_config(min_documents=5))


def test_a_document_keeps_its_blocks_when_others_come_or_go():
    config = eval_config(min_documents=1, documents=100, targets_per_block=4)
    few = choose_targets(numbered_documents([80, 90]), Split.REPORT, 40, config)
    many = choose_targets(numbered_documents([80, 90, 70, 60]), Split.REPORT, 40, config)
    np.testing.assert_array_equal(few.block_end_R, many.block_end_R[: len(few.block_end_R)])


def test_only_the_split_asked_for():
    source = numbered_documents([80] * 6)
    source.document_splits[:] = [0, 1, 2, 0, 1, 2]
    config = eval_config(min_documents=1, targets_per_block=4)
    for split in Split:
        chosen = choose_targets(source, split, 40, config)
        assert set(chosen.documents_N % 3) == {int(split)}


def test_too_few_documents_names_a_length_that_has_enough():
    source = numbered_documents([20, 30, 40, 50, 60])
    config = eval_config(min_documents=3, targets_per_block=4)
    with pytest.raises(UserError, match="longest context of 39 tokens would have enough") as error:
        choose_targets(source, Split.REPORT, 40, config)
    assert "\n" not in str(error.value)
    assert len(choose_targets(source, Split.REPORT, 39, config).documents_N) == 3
    with pytest.raises(UserError, match="only 5 in all"):
        choose_targets(source, Split.REPORT, 40, eval_config(min_documents=6))


def test_contexts_in_tokens():
    assert config_module.tested_contexts(eval_config(ratios=(4, 0.25, 1, 0.5)), 64) == (
        16,
        32,
        64,
        256,
    )
    for wrong, says in (
        ({"ratios": (0.5, 2)}, "must hold 1"),
        ({"ratios": (0.5, 1)}, "and a longer one"),
        ({"ratios": (0.3, 1, 2)}, "whole numbers"),
        ({"ratios": (0.125, 1, 2), "targets_per_row": 16}, "targets_per_row"),
        ({"targets_per_row": 0}, "targets_per_row"),
        ({"targets_per_row": 3}, "multiple of"),
        ({"targets_per_block": 128}, "at most 64"),
        ({"ratios": (1, 1.125)}, "at most 8"),  # targets at 72 would have 57 preceding tokens
    ):
        with pytest.raises(UserError, match=says):
            config_module.tested_contexts(dataclasses.replace(eval_config(), **wrong), 64)
