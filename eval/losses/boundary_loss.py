"""Loss by distance from a document boundary, under the document mask and without it.

A layout that joins documents in a row puts other documents' text before the opening of each. Held
out documents are packed the same way, and each target is scored twice on the same rows: *masked*,
attention within the document and positions restarted, and *naive*, the whole row under one causal
mask with running positions. Only targets behind a boundary are scored; what stands first in its row
is the same both ways. The naive input sees the end-of-text token between two documents, as
concatenated text has it; the target right behind it has no text of its own document, and is left
out on both sides.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.packing import best_fit_decreasing
from lengthwise.data.store.splits import Split
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import (
    DocumentScorer,
    Scorer,
    Setting,
    batched_scores,
    score,
    token_bar,
)
from lengthwise.eval.losses.position_nll import position_bins
from lengthwise.eval.losses.results import (
    BOUNDARY_GAP,
    BOUNDARY_NLL,
    ResultRow,
    RunIdentity,
    result_row,
)
from lengthwise.eval.losses.targets import DocumentSource, seeded_choice
from lengthwise.eval.statistics.bootstrap import ClusterBootstrap, resampling

MASKED, NAIVE = "masked", "naive"
MASKS = {MASKED: "causal within a document", NAIVE: "causal"}


@dataclass(frozen=True)
class PackedRows:
    """Rows of L + 1 tokens with several pieces each: ends of documents, or whole ones.

    Pieces that stand behind another one are numbered by D.
    """

    tokens: np.ndarray  # int64 [R, L + 1]; 0 behind the last piece
    segments: np.ndarray  # int64 [R, L + 1], 1.. in each row; what follows is a segment too
    documents_D: np.ndarray  # int64 document ids
    clusters_D: np.ndarray  # their near-duplicate clusters
    row_D: np.ndarray  # int64 where the piece stands
    first_D: np.ndarray  # int64 column of its first token
    tokens_D: np.ndarray  # int64 how many it has, end-of-text included


def pack_documents(source: DocumentSource, l_train: int, config: EvalConfig) -> PackedRows:
    """Packs documents of the report split, best fit, into rows of `l_train` inputs.

    At most `config.documents` of them, seeded, different near-duplicate clusters first. A document
    of more than l_train targets is cut into sequences of l_train; these fill rows alone, so that
    only its end is packed. The order in a row is shuffled: packing puts the longest first.
    """
    ids = source.documents(Split.REPORT)
    targets = source.document_offsets[ids + 1] - source.document_offsets[ids] - 1
    ids = ids[targets % l_train > 0]
    ids = seeded_choice(source, Split.REPORT, ids, config.documents, config.seed)
    ends = source.document_offsets[ids + 1]
    sizes = (ends - source.document_offsets[ids] - 1) % l_train + 1
    offsets, items = best_fit_decreasing(sizes, l_train + 1)
    random = np.random.default_rng(config.seed)
    several = np.flatnonzero(np.diff(offsets) > 1)
    tokens = np.zeros((several.size, l_train + 1), np.int64)
    segments = np.zeros_like(tokens)
    pieces = []
    for row, packed in enumerate(several.tolist()):
        at = 0
        inside = random.permutation(items[offsets[packed] : offsets[packed + 1]])
        for number, item in enumerate(inside.tolist(), 1):
            size = int(sizes[item])
            tokens[row, at : at + size] = source.read(int(ends[item]) - size, size)
            segments[row, at : at + size] = number
            if at:
                pieces.append((ids[item], row, at, size))
            at += size
        segments[row, at:] = inside.size + 1
    documents, rows, first, lengths = np.array(pieces, np.int64).reshape(-1, 4).T
    clusters = source.document_clusters[documents]
    return PackedRows(tokens, segments, documents, clusters, rows, first, lengths)


def boundary_rows(
    source: DocumentSource,
    naive: Scorer,
    masked: DocumentScorer,
    identity: RunIdentity,
    config: EvalConfig,
) -> tuple[list[ResultRow], tuple[str, ...]]:
    """NLL by distance from the boundary, both ways, and the paired difference naive - masked.

    Distances are counted in preceding tokens of the target's own piece, in bins of powers of two;
    the rows of 1 to l_train are over all of them. Bins that fewer than `config.min_documents`
    clusters reach are left out. Intervals resample clusters of documents.

    Returns: the rows, role "boundary"; and where there are too few documents, no rows and why.
    """
    packed = pack_documents(source, identity.l_train, config)
    clusters, enough = len(np.unique(packed.clusters_D)), max(2, config.min_documents)
    if clusters < enough:
        return [], (
            f"loss by distance from a document boundary: {clusters} independent documents of the "
            f"report split stand behind another one in rows of {identity.l_train} tokens; "
            f"{enough} are needed (eval.min_documents)",
        )
    nats_until = _score_both(packed, naive, masked, config)
    length = identity.l_train
    rows = []
    for fewest, most in [*position_bins(length), (1, length)]:
        # Column j of the scores is the target behind token j of the row.
        first_D = packed.first_D + fewest - 1
        counts_D = np.maximum(0, np.minimum(most, packed.tokens_D - 1) - fewest + 1)
        there = counts_D > 0
        clusters_D = packed.clusters_D[there]
        if len(np.unique(clusters_D)) < enough:
            continue
        sums = {}
        row_D, first_D, last_D = (x[there] for x in (packed.row_D, first_D, first_D + counts_D))
        for name, until_RL in nats_until.items():
            sums[name] = until_RL[row_D, last_D] - until_RL[row_D, first_D]
        bootstrap = ClusterBootstrap(
            clusters_D,
            **resampling(config),
        )
        for metric, name, sums_D in (
            *((BOUNDARY_NLL, name, sums[name]) for name in MASKS),
            (BOUNDARY_GAP, NAIVE, sums[NAIVE] - sums[MASKED]),
        ):
            rows.append(
                result_row(
                    metric,
                    bootstrap.ratio(sums_D, counts_D[there]),
                    identity=identity,
                    config=config,
                    setting=Setting(),
                    context=most,
                    split=Split.REPORT,
                    n_documents=int(there.sum()),
                    n_clusters=bootstrap.num_clusters,
                    n_targets=int(counts_D.sum()),
                    role="boundary",
                    method=name,
                    context_from=fewest,
                    pass_length=length,
                    mask=MASKS[name],
                )
            )
    return rows, ()


def _score_both(
    packed: PackedRows, naive: Scorer, masked: DocumentScorer, config: EvalConfig
) -> dict[str, np.ndarray]:
    """Name -> float64 [R, L + 1], summed nats of a row's targets before each column of scores."""
    rows, length = len(packed.tokens), packed.tokens.shape[1] - 1

    def by_document(some: slice) -> np.ndarray:
        segments = packed.segments[some]
        masked_rows = functools.partial(masked, segments=segments, first_row=some.start)
        return score(masked_rows, packed.tokens[some])

    def whole_rows(some: slice) -> np.ndarray:
        return score(naive, packed.tokens[some], first_row=some.start)

    nats_until = {}
    with token_bar(len(MASKS) * rows * length, "scoring behind boundaries") as progress:
        for name, score_rows in ((MASKED, by_document), (NAIVE, whole_rows)):
            nats = batched_scores(score_rows, rows, length, config.tokens_per_call, progress)
            nats_until[name] = np.pad(np.cumsum(nats, axis=1), ((0, 0), (1, 0)))
    return nats_until
