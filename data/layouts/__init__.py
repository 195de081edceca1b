"""Layouts: indices into the token store that make rows of documents; no token is copied."""

from lengthwise.data.layouts.build import build_layout
from lengthwise.data.layouts.config import Layout, LayoutConfig
from lengthwise.data.layouts.documents import DocumentSet, SplitDocuments
from lengthwise.data.layouts.index import BucketIndex, Pieces
from lengthwise.data.layouts.index_file import LayoutIndex

__all__ = [
    "BucketIndex",
    "DocumentSet",
    "Layout",
    "LayoutConfig",
    "LayoutIndex",
    "Pieces",
    "SplitDocuments",
    "build_layout",
]
