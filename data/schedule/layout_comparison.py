"""Comparison of layouts over the same documents: drops, padding, contexts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.accounting import Accounting
from lengthwise.data.layouts.build import build_layout
from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.layouts.documents import DocumentSet
from lengthwise.data.layouts.index_file import LayoutIndex
from lengthwise.data.layouts.packing import fewest_bins
from lengthwise.data.schedule.exposure import epoch_exposure

_ROWS_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class LayoutResult:
    """Effect of one layout on the documents."""

    title: str
    accounting: Accounting
    document_targets: int  # tokens behind the first of each document
    ends_trained: float  # share of the documents whose end-of-text token is a target
    exposure: np.ndarray  # float64 [K] targets by context, see exposure.epoch_exposure
    excess_rows: int  # beyond the fewest that could hold the same pieces (packing.fewest_bins)

    @property
    def share_lost(self) -> float:
        """Share of the tokens behind a document's first that are no target; 0 at least.

        Joined text also trains on the first tokens of documents, which makes up for a loss.
        """
        return max(0.0, 1 - self.accounting.targets / self.document_targets)


def compare_layouts(
    configs: Mapping[str, LayoutConfig], documents: DocumentSet, seed: int
) -> list[LayoutResult]:
    """Lays the documents out with each config, in memory; the keys are titles.

    Raises:
      UserError: a layout has no row; see `build_layout`.
    """
    results = []
    for title, config in configs.items():
        layout = build_layout(config, documents, seed)
        account = layout.accounting
        targets = account.document_tokens - account.documents
        ends, excess = _walk(layout, documents.offsets)
        results.append(
            LayoutResult(
                title,
                account,
                targets,
                ends / account.documents,
                epoch_exposure(layout),
                excess,
            )
        )
    return results


def comparison_table(results: Sequence[LayoutResult]) -> str:
    """For a terminal: one line a layout."""
    lines = [
        f"{'layout':<34} {'rows':>11} {'padded':>9} {'excess':>8} {'tokens lost':>12} "
        f"{'ends trained':>13} {'context':>9} {'same doc.':>10}"
    ]
    for result in results:
        account = result.accounting
        lines.append(
            f"{result.title:<34} {account.sequences:>11,} {account.share_padded:>9.3%} "
            f"{result.excess_rows:>8,} {result.share_lost:>12.3%} {result.ends_trained:>13.2%} "
            f"{account.mean_context:>9,.0f} {account.mean_document_context:>10,.0f}"
        )
    return "\n".join(lines)


def exposure_table(results: Sequence[LayoutResult], shortest: int) -> str:
    """For a terminal: the share of each layout's targets by context, to `shortest` and beyond.

    Raises:
      ValueError: `shortest` is above the longest context.
    """
    bins = max(result.exposure.size for result in results)
    first = max(1, shortest.bit_length() - 1)
    if first >= bins:
        raise ValueError(f"no context is longer than {shortest}")
    ends = [1 << k for k in range(first, bins)]
    lines = [f"{'targets by context':<34} " + " ".join(f"{f'to {end:,}':>10}" for end in ends)]
    for result in results:
        counts = np.zeros(bins)
        counts[: result.exposure.size] = result.exposure
        shares = np.append(counts[: first + 1].sum(), counts[first + 1 :]) / counts.sum()
        lines.append(f"{result.title:<34} " + " ".join(f"{share:>10.2%}" for share in shares))
    return "\n".join(lines)


def _walk(layout: LayoutIndex, offsets: np.ndarray) -> tuple[int, int]:
    """Documents whose last token is a target; rows beyond the fewest possible."""
    trained = np.zeros(offsets.size - 1, bool)
    excess = 0
    for length, bucket in layout.buckets.items():
        sizes = []
        whole_rows = 0
        for first in range(0, bucket.rows, _ROWS_AT_A_TIME):
            rows = np.arange(first, min(bucket.rows, first + _ROWS_AT_A_TIME))
            _, whole = bucket.starts(rows)
            whole_rows += int(np.count_nonzero(whole))
            sizes.append(bucket.pieces(rows[~whole]).tokens - (not layout.joined))
            pieces = bucket.pieces(rows)
            # The first token that a row reads is no target, nor is that of a piece on its own.
            targets = (pieces.tokens > 1) | layout.joined
            targets[pieces.offsets[:-1]] = pieces.tokens[pieces.offsets[:-1]] > 1
            end = (pieces.start + pieces.tokens)[targets]
            document = np.searchsorted(offsets, end)
            trained[document[offsets[document] == end] - 1] = True
        if sizes:
            fewest = fewest_bins(np.concatenate(sizes), length + layout.joined)
            excess += bucket.rows - whole_rows - fewest
    return int(np.count_nonzero(trained)), excess
