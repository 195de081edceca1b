"""How documents become sequences: an index into the token store, no token is copied."""

from lengthwise.data.layouts.build import build_layout
from lengthwise.data.layouts.config import LayoutConfig, window_at
from lengthwise.data.layouts.documents import Documents, SplitDocuments
from lengthwise.data.layouts.index import BucketIndex, Pieces
from lengthwise.data.layouts.layout import Layout

__all__ = [
    "BucketIndex",
    "Documents",
    "Layout",
    "LayoutConfig",
    "Pieces",
    "SplitDocuments",
    "build_layout",
    "window_at",
]
