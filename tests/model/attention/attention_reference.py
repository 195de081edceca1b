"""Attention and its gradient as plain float64 loops over heads, written from the formulas."""

from typing import NamedTuple

import numpy as np

from lengthwise.model.attention.masks import Mask


class Case(NamedTuple):
    q: np.ndarray  # [B, L, H, C]
    k: np.ndarray  # [B, L, K, C]
    v: np.ndarray
    d_out: np.ndarray  # [B, L, H, C]
    segments: np.ndarray | None


class Gradients(NamedTuple):
    out: np.ndarray
    dq: np.ndarray
    dk: np.ndarray
    dv: np.ndarray
    far_dq: np.ndarray
    far_dk: np.ndarray
    d_bias: np.ndarray  # [B, H, L, L]


def make_case(seed: int, batch: int, length: int, heads: int, kv_heads: int, dim: int, segments):
    rng = np.random.default_rng(seed)
    q, d_out = rng.standard_normal((2, batch, length, heads, dim)).astype(np.float32)
    k, v = rng.standard_normal((2, batch, length, kv_heads, dim)).astype(np.float32)
    return Case(q, k, v, d_out, segments)


def sees(i: int, j: int, mask: Mask, segments: np.ndarray | None) -> bool:
    """Whether query i sees key j, spelled out; segments of one row."""
    if segments is not None and (segments[i] != segments[j] or segments[j] == 0):
        return False
    if i < mask.prefix and j < mask.prefix:
        return True
    if j > i:
        return False
    if j < mask.sinks:
        return True
    if mask.window is not None and i - j >= mask.window:
        return False
    return mask.chunk is None or i // mask.chunk == j // mask.chunk


def visible(length: int, mask: Mask, segments: np.ndarray | None) -> np.ndarray:
    pairs = [[sees(i, j, mask, segments) for j in range(length)] for i in range(length)]
    return np.array(pairs)


def reference(
    case: Case, mask: Mask, *, softcap=0.0, bias_BHLL=None, far_q=None, far_k=None, boundary=None
) -> Gradients:
    """In float64; queries that see nothing give zeros. `boundary` None: no far field."""
    q, k, v, d_out = (x.astype(np.float64) for x in case[:4])
    batch, length, heads, dim = q.shape
    group = heads // k.shape[2]
    far_q, far_k = (q if far_q is None else far_q, k if far_k is None else far_k)
    far_q, far_k = far_q.astype(np.float64), far_k.astype(np.float64)
    result = Gradients(*(np.zeros_like(x) for x in (d_out, q, k, v, far_q, far_k)), None)
    result = result._replace(d_bias=np.zeros((batch, heads, length, length)))
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    beyond = distance >= (length if boundary is None else boundary)
    for b in range(batch):
        row = None if case.segments is None else case.segments[b]
        seen = visible(length, mask, row)
        for h in range(heads):
            g = h // group
            near = q[b, :, h] @ k[b, :, g].T / np.sqrt(dim)
            far = far_q[b, :, h] @ far_k[b, :, g].T / np.sqrt(dim)
            raw = np.where(beyond, far, near)
            scores = softcap * np.tanh(raw / softcap) if softcap else raw
            slope = 1 / np.cosh(raw / softcap) ** 2 if softcap else 1.0
            if bias_BHLL is not None:
                scores = scores + bias_BHLL[b, h]
            highest = np.where(seen, scores, -1e9).max(1, keepdims=True)
            weights = np.where(seen, np.exp(np.minimum(scores - highest, 0)), 0)
            weights /= np.maximum(weights.sum(1, keepdims=True), 1e-300)
            result.out[b, :, h] = weights @ v[b, :, g]
            d_weights = d_out[b, :, h] @ v[b, :, g].T
            mean = (weights * d_weights).sum(1, keepdims=True)
            d_scores = weights * (d_weights - mean)
            d_raw = d_scores * slope / np.sqrt(dim)
            d_near, d_far = np.where(beyond, 0, d_raw), np.where(beyond, d_raw, 0)
            result.dq[b, :, h] = d_near @ k[b, :, g]
            result.dk[b, :, g] += d_near.T @ q[b, :, h]
            result.far_dq[b, :, h] = d_far @ far_k[b, :, g]
            result.far_dk[b, :, g] += d_far.T @ far_q[b, :, h]
            result.dv[b, :, g] += weights.T @ d_out[b, :, h]
            result.d_bias[b, h] = d_scores
    return result


def softplus_weights(cosines: np.ndarray, channels: int, power: float) -> np.ndarray:
    """One row of LSSA (power 0) or LSSAR: weights of the keys that one query sees."""
    n = len(cosines)
    weights = np.log1p(np.exp(np.log(channels) * np.log(n) * cosines))
    weights /= weights.sum()
    if power:
        weights = np.maximum(weights * n - (0 if n <= 3 else 1), 0) ** power
        weights /= weights.sum()
    return weights
