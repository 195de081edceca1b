"""Settings of a layout, the contract of layouts, and their registry.

A layout is one file in data/layouts/kinds, or one of a user's.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Components, Registry
from lengthwise.common.settings import components, setting
from lengthwise.data.layouts.accounting import BucketAccount
from lengthwise.data.layouts.documents import DocumentCell, DocumentSet
from lengthwise.data.layouts.rows import CellRows

LAYOUTS: Registry[Any] = Registry("layout", "lengthwise.data.layouts.kinds")
TARGETS = ("all", "answers")
CUTS = ("longest_first", "shuffled", "published")
TAILS = ("pack", "pad", "drop")
JOIN_ORDERS = ("random", "related")

# The value of a field that means nothing to a layout (Layout.options).
_NEUTRAL = {
    "cut": "longest_first",
    "tails": "pack",
    "mixture": "natural",
    "shares": (),
    "document_mask": True,
    "join_order": "random",
    "window_start": 0,
    "window_rate": 0.0,
}


@dataclass(frozen=True)
class LayoutConfig:
    """Raises UserError when a field has no meaning."""

    # decompose | concat_and_chunk | pack | pad | window | whole (each document in the shortest
    # bucket that holds it)
    name: str = "decompose"
    targets: str = setting("all", choices=TARGETS)  # all | answers: of a task's samples
    smallest_bucket: int = 64  # tokens, a power of two; decompose and whole
    # tokens, a power of two; the training length
    largest_bucket: int = setting(512, "[1, 1048576]")
    # longest_first | shuffled | published (arXiv 2405.13226)
    cut: str = setting("longest_first", choices=CUTS)
    # pack | pad | drop: what is shorter than the smallest bucket
    tails: str = setting("pack", choices=TAILS)
    mixture: str = "natural"  # natural | equal_tokens | explicit
    shares: tuple[float, ...] = ()  # explicit: share of tokens a bucket, shortest first
    document_mask: bool = True  # documents that share a row don't see each other
    # random | related: what concat_and_chunk and window join
    join_order: str = setting("random", choices=JOIN_ORDERS)
    window_start: int = setting(0, "[0, inf)")  # window: keys a query sees at step 0
    window_rate: float = setting(0.0, "(-inf, inf)")  # window: keys more a step
    # tokens of the store a block, whose rows are shuffled
    block_tokens: int = setting(1 << 31, "[1, inf)")
    layouts: Components[Any] = components(LAYOUTS, "phase.layout")

    def __post_init__(self) -> None:
        choices = {
            "targets": TARGETS,
            "cut": CUTS,
            "tails": TAILS,
            "join_order": JOIN_ORDERS,
        }
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise UserError(f"unknown layout.{field} {value!r}: use one of {', '.join(known)}")
        for field in ("smallest_bucket", "largest_bucket"):
            length = getattr(self, field)
            if length < 1 or length & (length - 1):
                raise UserError(f"layout.{field} = {length} must be a power of two")
        kind = self.kind
        for field, neutral in _NEUTRAL.items():
            value = getattr(self, field)
            if value != neutral and field not in kind.options:
                layouts = LAYOUTS.import_all().items()
                takers = " | ".join(name for name, each in layouts if field in each.options)
                raise UserError(
                    f"layout.{field} = {value!r} is only for layout.name = {takers}, "
                    f"not {self.name!r}: set it to {neutral!r} or change the layout"
                )
        kind.check()
        if self.block_tokens < self.largest_bucket:
            raise UserError(
                f"layout.block_tokens = {self.block_tokens} is below layout.largest_bucket = "
                f"{self.largest_bucket}: rows never leave their block"
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """The bucket lengths, ascending."""
        return self.kind.lengths

    @functools.cached_property
    def kind(self) -> "Layout":
        """The layout that `name` names, with its settings."""
        layout: Layout = self.layouts.make(self.name, "phase.layout.name")
        object.__setattr__(layout, "config", self)
        return layout


class Layout(ABC):
    """A way to make rows of documents, stateless: a frozen dataclass of its own settings."""

    config: LayoutConfig  # the settings that all layouts share
    name: ClassVar[str]
    # Fields of LayoutConfig that mean something to this layout; the others must be neutral.
    options: ClassVar[frozenset[str]] = frozenset()
    # Rows of every power of two from smallest_bucket on; else of largest_bucket alone.
    bucketed: ClassVar[bool] = False

    def check(self) -> None:
        """Raises UserError for settings that contradict each other."""
        low, high = self.config.smallest_bucket, self.config.largest_bucket
        if self.bucketed and low > high:
            raise UserError(
                f"layout.smallest_bucket = {low} is above layout.largest_bucket = {high}: "
                "exchange them"
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """The bucket lengths [K], ascending."""
        low, high = self.config.smallest_bucket, self.config.largest_bucket
        if not self.bucketed:
            return (high,)
        return tuple(1 << k for k in range(low.bit_length() - 1, high.bit_length()))

    @property
    def row_settings(self) -> LayoutConfig:
        """The settings, with a fixed value for those that decide no row: the key of an index."""
        return self.config

    @abstractmethod
    def joins_documents(self, length: int) -> bool:
        """Whether rows of a bucket may hold several documents."""

    def segmented(self, several: bool) -> bool:
        """Whether attention needs segment ids, where `several` documents may share a row."""
        return several and self.config.document_mask

    def window_at(self, step: int) -> int | None:
        """Keys that a query of step `step` of the phase may see, itself included; None: any."""
        return None

    @property
    def target_shares(self) -> np.ndarray | None:
        """Requested share of all targets of each bucket, float64 [K]; None: as they come."""
        return None

    # A layout whose rows depend on the counts of all cells reads the documents twice.
    @property
    def two_passes(self) -> bool:
        """Whether `count` and `plan` run before `lay_out`."""
        return False

    def count(self, cell: DocumentCell) -> np.ndarray:
        """First pass: what `plan` needs to know of a cell; int64 [M]."""
        raise NotImplementedError

    def plan(self, counts: np.ndarray) -> np.ndarray:
        """From the counts of all cells, int64 [cells, M], the plan of each, int64 [cells, ...]."""
        raise NotImplementedError

    @abstractmethod
    def lay_out(
        self, cell: DocumentCell, documents: DocumentSet, seed: int, plan: np.ndarray | None
    ) -> tuple[dict[int, CellRows], int]:
        """The rows of one cell.

        Args:
          plan: the cell's part of what `plan` returned; None without a first pass.

        Returns: rows by bucket length, and the number of targets that no row holds.
        """

    @property
    def min_tokens(self) -> int:
        """Tokens that a cell must hold for one row."""
        return 2

    def no_rows(self, documents: int, tokens: int, dropped: int) -> UserError:
        """The error where documents give no row."""
        return UserError(
            f"layout {self.name}: the {documents} training documents hold {tokens} tokens, too few "
            f"for one sequence (at least {self.min_tokens} needed): use more or longer documents, "
            "or smaller buckets"
        )

    def notes(self, buckets: Sequence[BucketAccount], dropped: int) -> Iterator[str]:
        """One sentence for each thing that a user should know of the result."""
        for bucket in buckets:
            asked = bucket.asked
            if bucket.sequences == 0 and asked != 0:
                yield f"bucket {bucket.length} is empty: no document is long enough"
            if asked is not None and bucket.reached < asked - 0.01:
                yield (
                    f"bucket {bucket.length} holds {bucket.reached:.1%} of the targets instead of "
                    f"{asked:.1%}: documents are too short for this mixture"
                )
