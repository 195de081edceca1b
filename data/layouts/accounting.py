"""The accounting of a layout: what became of each token."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BucketAccount:
    length: int  # L, tokens
    sequences: int  # rows of the bucket
    tokens: int  # sequences * L, padding included: what the bucket costs
    targets: int  # valid targets
    reached: float  # share of all targets
    asked: float | None  # requested share of all targets (mixture); None: none requested


@dataclass(frozen=True)
class Accounting:
    """Tokens, targets and contexts of all rows. Shares are in [0, 1], of targets unless stated."""

    layout: str
    documents: int
    document_tokens: int  # end-of-text included
    possible_targets: int  # decompose: tokens after a document's first; joined: after the first
    buckets: tuple[BucketAccount, ...]  # ascending length
    mean_context: float  # tokens that precede a target in its context, mean over targets
    mean_document_context: float  # the same, counting only tokens of the target's own document
    notes: tuple[str, ...]  # sentences for the user, see Layout.notes

    @property
    def sequences(self) -> int:
        return sum(bucket.sequences for bucket in self.buckets)

    @property
    def tokens(self) -> int:
        """Sum of sequences times length, padding included."""
        return sum(bucket.tokens for bucket in self.buckets)

    @property
    def targets(self) -> int:
        return sum(bucket.targets for bucket in self.buckets)

    @property
    def share_padded(self) -> float:
        """Share of the tokens that are padding."""
        return 1 - self.targets / self.tokens

    @property
    def share_dropped(self) -> float:
        """Share of the possible targets that no sequence holds."""
        return 1 - self.targets / self.possible_targets

    def as_dict(self) -> dict[str, Any]:
        """Fields and totals, for JSON."""
        totals = ("sequences", "tokens", "targets", "share_padded", "share_dropped")
        return asdict(self) | {name: getattr(self, name) for name in totals}

    def table(self) -> str:
        """Table for a terminal: one line a bucket, then the totals and the notes."""
        header = f"{'bucket':>8} {'sequences':>12} {'tokens':>16} {'targets':>16} {'share':>7}"
        asks = any(bucket.asked is not None for bucket in self.buckets)
        lines = [f"layout {self.layout}, {self.documents:,} documents"]
        lines.append(header + (f" {'asked':>7}" if asks else ""))
        for bucket in self.buckets:
            asked = "" if bucket.asked is None else f" {bucket.asked:7.1%}"
            lines.append(
                f"{bucket.length:>8} {bucket.sequences:>12,} {bucket.tokens:>16,} "
                f"{bucket.targets:>16,} {bucket.reached:7.1%}{asked}"
            )
        lines.append(f"{'all':>8} {self.sequences:>12,} {self.tokens:>16,} {self.targets:>16,}")
        lines.append(
            f"padded {self.share_padded:.2%} of tokens, dropped {self.share_dropped:.4%} of "
            f"targets, mean context {self.mean_context:,.1f} tokens "
            f"({self.mean_document_context:,.1f} of the same document)"
        )
        return "\n".join(lines + [f"note: {note}" for note in self.notes])
