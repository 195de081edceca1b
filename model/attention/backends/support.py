"""Capabilities of the attention backends, in one table, and the choice of "auto" by it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lengthwise.common.errors import UserError
from lengthwise.model.attention.masks import CAUSAL, Mask

ANYWHERE = ("dense", "blockwise")
PLATFORMS = {"splash": "tpu", "cudnn": "gpu"}  # of each kernel, as jax.Device.platform has it
BACKENDS = (*ANYWHERE, *PLATFORMS)
LANES = 128  # lengths and blocks of splash are multiples of it

# Lengths from which blockwise serves "auto". On CPU measured as whole training steps (3 layers of
# 256 channels, 4096 tokens, both backends in turn; `benchmarks/train/step_time.py` with an
# explicit --config.model.attention repeats it): level with dense up to 128, 0.8 of its time at 256,
# 0.6 at 512 and ever less beyond. Elsewhere not measured: there the memory of the scores sets it
# (a gigabyte a row at 4096 with 16 heads).
_BLOCKWISE_FROM = {"cpu": 128}
_BLOCKWISE_FROM_ELSEWHERE = 4096


@dataclass(frozen=True)
class Request:
    """Requirements of a model on attention; static. The defaults are plain causal attention."""

    mask: Mask = CAUSAL
    # None, "linear" (biases.LinearBias), "block" (BlockBias) or "context" (ContextBias).
    bias: str | None = None
    far: bool = False  # other queries and keys beyond a boundary (biases.FarField)
    normalizer: bool = False  # another function than the softmax makes weights of the scores
    softcap: bool = False
    segments: bool = False  # rows hold several documents, or padding
    head_dim: int = 64  # channels
    dtype: str = "bfloat16"  # of queries, keys and values
    length: int = 8192  # tokens a row
    row_devices: int = 1  # devices that share the tokens of one row


def choose_backend(
    requested: str, platform: str, length: int, requests: Sequence[Request]
) -> tuple[str, str]:
    """Resolves `requested` for rows of `length` tokens: (backend, the reason in words).

    It serves all requests, those of the layers.

    platform: as `jax.Device.platform` has it. "auto" takes the platform's kernel where that can
    serve, else blockwise, or dense for short rows. Raises UserError for an unknown backend and for
    one that can't serve the request on this platform.
    """
    if requested not in (*BACKENDS, "auto"):
        known = ", ".join(("auto", *BACKENDS))
        raise UserError(f"unknown attention backend {requested!r}; known: {known}")
    if requested != "auto":
        wrong = PLATFORMS.get(requested, platform) != platform
        reason = f"it runs on {PLATFORMS[requested]} only, this is {platform}" if wrong else None
        reason = reason or _first_refusal(requested, requests)
        if reason is not None:
            raise UserError(f"attention backend {requested!r} can't serve this model: {reason}")
        return requested, "asked for"
    why = ""
    for kernel in (name for name, where in PLATFORMS.items() if where == platform):
        reason = _first_refusal(kernel, requests)
        if reason is None:
            return kernel, f"the fused kernel for {platform}"
        why = f"{kernel} can't serve: {reason}; "
    reason = _first_refusal("blockwise", requests)
    if reason is not None:
        why_not_dense = _first_refusal("dense", requests)
        if why_not_dense is not None:
            raise UserError(f"no attention backend can serve this model: {why_not_dense}")
        return "dense", f"{why}blockwise can't serve: {reason}"
    threshold = _BLOCKWISE_FROM.get(platform, _BLOCKWISE_FROM_ELSEWHERE)
    if length < threshold:
        return "dense", f"{why}below length {threshold} blockwise does not pay on {platform}"
    return "blockwise", f"{why}it pays from length {threshold} on {platform}"


def _first_refusal(backend: str, requests: Sequence[Request]) -> str | None:
    reasons = (refusal(backend, request) for request in requests)
    return next((reason for reason in reasons if reason is not None), None)


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
    "model.attention_weights other than softmax need the full score matrix, and devices share the "
    "rows; use fewer devices or more tokens a step",
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
            lambda r: (
                type(r.mask) is not Mask or bool(r.mask.sinks or r.mask.chunk or r.mask.prefix)
            ),
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
