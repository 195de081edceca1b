"""What each backend can serve, in one table: for `auto`, for error messages and for the tests."""

from collections.abc import Callable
from dataclasses import dataclass

from lengthwise.model.attention.masks import CAUSAL, Mask

ANYWHERE = ("dense", "blockwise")
PLATFORMS = {"splash": "tpu", "cudnn": "gpu"}  # what a kernel is for, as jax.Device.platform has it
BACKENDS = (*ANYWHERE, *PLATFORMS)
LANES = 128  # lengths and blocks of splash are multiples of it


@dataclass(frozen=True)
class Request:
    """What a model asks of attention; static. The defaults are plain causal attention."""

    mask: Mask = CAUSAL
    # None, "linear" (scores.LinearBias), "block" (BlockBias) or "context" (ContextBias).
    bias: str | None = None
    far: bool = False  # other queries and keys beyond a boundary (scores.FarField)
    normalizer: bool = False  # another function than the softmax makes weights of the scores
    softcap: bool = False
    segments: bool = False  # rows hold several documents, or padding
    head_dim: int = 64  # channels
    dtype: str = "bfloat16"  # of queries, keys and values
    length: int = 8192  # tokens a row
    row_devices: int = 1  # devices that share the tokens of one row


def refusal(backend: str, request: Request) -> str | None:
    """Why `backend` can't serve `request` on the platform it is for, in words; None: it can."""
    if backend not in _REFUSALS:
        raise ValueError(f"attention backend {backend!r} is not one of {', '.join(BACKENDS)}")
    return next((why for refuses, why in _REFUSALS[backend] if refuses(request)), None)


_Refusal = tuple[Callable[[Request], bool], str]

_SOFTMAX_ONLY: _Refusal = (lambda r: r.normalizer, "it computes a softmax only")
_CONTEXT_ALONE: _Refusal = (
    lambda r: r.bias == "context" and (r.normalizer or r.far),
    "contextual positions (CoPE) go with neither a normalizer nor a far field",
)
_CONTEXT_LOOKS_BACK: _Refusal = (
    lambda r: r.bias == "context" and r.mask.prefix > 0,
    "contextual positions (CoPE) count keys back from the query, and a prefix shows later ones",
)
_WHOLE_ROWS: _Refusal = (
    lambda r: r.row_devices > 1,
    "it attends to whole rows, and devices share them",
)
_WHOLE_SCORES: _Refusal = (
    lambda r: r.normalizer and r.row_devices > 1,
    "its weights are made of whole matrices of scores, and devices share the rows; use fewer "
    "devices or more tokens a step",
)
_ONE_QUERY: _Refusal = (
    lambda r: r.far,
    "it takes one query and one key a token, and no others for far pairs",
)

_REFUSALS: dict[str, tuple[_Refusal, ...]] = {
    "dense": (_CONTEXT_ALONE, _CONTEXT_LOOKS_BACK, _WHOLE_SCORES),
    "blockwise": (_CONTEXT_ALONE, _CONTEXT_LOOKS_BACK, _SOFTMAX_ONLY),
    "splash": (
        _SOFTMAX_ONLY,
        (lambda r: r.bias in ("block", "context"), "the kernel adds no bias but a linear one"),
        (
            lambda r: r.bias == "linear" and r.softcap,
            "a linear bias is a part of its scores, and the soft cap would bend it",
        ),
        _ONE_QUERY,
        (
            lambda r: r.mask.chunk is not None and not r.mask.chunk_is_power_of_two,
            "chunks must be a power of two long: the kernel has no division",
        ),
        (
            lambda r: r.row_devices > 1 and r.length % (2 * LANES * r.row_devices) != 0,
            f"devices share the rows, and it takes chunks of a multiple of {LANES} tokens, two a "
            "device",
        ),
    ),
    "cudnn": (
        _SOFTMAX_ONLY,
        (lambda r: r.bias is not None, "a bias would be an array of length x length"),
        _ONE_QUERY,
        (lambda r: r.softcap, "it has no soft cap"),
        (
            lambda r: r.segments,
            "documents in a row would need a mask of length x length: causal masks and windows "
            "are all that it is trusted with",
        ),
        (
            lambda r: bool(r.mask.sinks or r.mask.chunk or r.mask.prefix),
            "it has causal masks and windows only",
        ),
        (lambda r: r.dtype not in ("bfloat16", "float16"), "it computes in 16 bits only"),
        (
            lambda r: r.head_dim % 8 != 0 or r.head_dim > 128,
            "heads must have a multiple of 8 channels, at most 128",
        ),
        _WHOLE_ROWS,
    ),
}
