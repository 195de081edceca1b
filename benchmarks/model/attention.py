"""Attention forward and backward, by length, mask and scheme, against the libraries' own.

python -m lengthwise.benchmarks.model.attention [--lengths=256,1024] [--masks=causal]

Everything is timed in turn, in one process: `dense`, `blockwise`, the platform's kernel where there
is one, `jax.nn.dot_product_attention`, and torch's scaled_dot_product_attention where torch is
installed (`pip install torch==2.13.0`). FLOPs are analytic: 4 * C forward and 8 * C backward for a
head and a pair of tokens that see each other; masked pairs and recomputation are not counted. The
best of the rounds counts, and beside it the processor time, which other programs disturb less; the
last column is the time as a share of the faster rival's, and in brackets the processor time.
"""

import importlib.util
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.support import ANYWHERE, PLATFORMS, Request, refusal
from lengthwise.model.attention.biases import Bias, BlockBias, LinearBias
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.flops import visible_pairs

MASKS = {
    "causal": CAUSAL,
    "window": Mask(window=512),
    "sinks": Mask(window=512, sinks=4),
    "chunk": Mask(chunk=512),
    "prefix": Mask(prefix=512),
}
SCHEMES = {"none": None, "alibi": "linear", "kerple": "block"}

_LENGTHS = flag_command.define_numbers(
    "lengths", [2**n for n in range(8, 16)], "Tokens a row.", lower_bound=1
)
_MASKS = flag_command.define_names("masks", [*MASKS], "Of queries.", ["causal", "window"])
_SCHEMES = flag_command.define_names("schemes", [*SCHEMES], "Of positions.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved repetitions.", lower_bound=1)
_HEADS = flags.DEFINE_integer("heads", 8, "Query, key and value heads.", lower_bound=1)
_CHANNELS = flags.DEFINE_integer("channels", 64, "Channels a head.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of all arrays.")
_LONGEST_DENSE = flags.DEFINE_integer(
    "longest_dense", 8192, "Longest row with all its scores.", lower_bound=0
)


@dataclass(frozen=True)
class Implementation:
    """One implementation: `run()` does a forward and a backward pass and waits for both."""

    name: str
    run: Callable[[], object]


def logarithmic(rates: jax.Array, q_positions: jax.Array, k_positions: jax.Array) -> jax.Array:
    """KERPLE's logarithmic bias (arXiv:2205.09921), a rate a head."""
    distance = jnp.abs(q_positions[:, :, None] - k_positions[:, None, :]).astype(jnp.float32)
    return -jnp.log1p(rates[None, :, None, None] * distance[:, None])


def bias_of(scheme: str, per_head: jax.Array) -> Bias | None:
    if scheme == "none":
        return None
    return LinearBias(per_head) if scheme == "alibi" else BlockBias(logarithmic, per_head)


def of_jax(attention: Callable, arrays: list[jax.Array], d_out: jax.Array) -> Callable:
    """A compiled forward and backward pass, ready to run."""

    def both(arrays: list[jax.Array], d_out: jax.Array) -> tuple:
        out, pull = jax.vjp(attention, *arrays)
        return out, pull(d_out)

    compiled = jax.jit(both).lower(arrays, d_out).compile()
    return lambda: jax.block_until_ready(compiled(arrays, d_out))


def ours(backend: str, mask: Mask, scheme: str) -> Callable:
    def attention(q: jax.Array, k: jax.Array, v: jax.Array, per_head: jax.Array) -> jax.Array:
        return attend(
            q,
            k,
            v,
            mask=mask,
            segment_ids_BL=None,
            bias=bias_of(scheme, per_head),
            backend=backend,
            softcap=0.0,
            block_size=0,
        )

    return attention


def jax_nn(mask: Mask) -> Callable:
    window = None if mask.window is None else (mask.window - 1, 0)

    def attention(q: jax.Array, k: jax.Array, v: jax.Array, per_head: jax.Array) -> jax.Array:
        return jax.nn.dot_product_attention(q, k, v, is_causal=True, local_window_size=window)

    return attention


def torch_sdpa(mask: Mask, arrays: list[jax.Array], d_out: jax.Array) -> Callable:
    import torch

    dtype = getattr(torch, _DTYPE.value)

    def tensor(x: jax.Array) -> "torch.Tensor":
        x_BHLC = torch.from_numpy(np.array(x, np.float32).transpose(0, 2, 1, 3).copy())
        return x_BHLC.to(dtype)

    q, k, v = (tensor(x).requires_grad_() for x in arrays[:3])
    d = tensor(d_out)
    visible = None
    if mask != CAUSAL:
        index = np.arange(q.shape[2])
        visible = torch.from_numpy(np.asarray(mask.allowed(index[:, None], index[None, :])))

    def run() -> None:
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, is_causal=visible is None
        )
        out.backward(d)
        q.grad = k.grad = v.grad = None

    return run


def implementations(length: int, mask: Mask, scheme: str) -> list[Implementation]:
    """The implementations that support this case, in this process."""
    shape = (1, length, _HEADS.value, _CHANNELS.value)
    keys = jax.random.split(jax.random.key(0), 4)
    q, k, v, d_out = (jax.random.normal(key, shape, _DTYPE.value) for key in keys)
    arrays = [q, k, v, 2.0 ** -jnp.arange(1.0, 1 + _HEADS.value)]
    platform = jax.devices()[0].platform
    request = Request(mask, SCHEMES[scheme], head_dim=_CHANNELS.value, dtype=_DTYPE.value)
    backends = [*ANYWHERE, *(name for name, where in PLATFORMS.items() if where == platform)]
    dense_fits = length <= _LONGEST_DENSE.value
    candidates = [
        Implementation(name, of_jax(ours(name, mask, scheme), arrays, d_out))
        for name in backends
        if refusal(name, request) is None and (dense_fits or name != "dense")
    ]
    if scheme == "none" and not (mask.sinks or mask.chunk or mask.prefix) and dense_fits:
        candidates.append(Implementation("jax.nn", of_jax(jax_nn(mask), arrays, d_out)))
    whole_mask_fits = mask == CAUSAL or dense_fits
    if scheme == "none" and importlib.util.find_spec("torch") and whole_mask_fits:
        candidates.append(Implementation("torch", torch_sdpa(mask, arrays, d_out)))
    return candidates


def measure(candidates: list[Implementation]) -> dict[str, tuple[float, float]]:
    """Name -> best (wall, processor) seconds, over interleaved rounds."""
    best = {candidate.name: (np.inf, np.inf) for candidate in candidates}
    for candidate in candidates:
        candidate.run()
    for _ in range(_ROUNDS.value):
        for candidate in candidates:
            wall, processor = time.perf_counter(), time.process_time()
            candidate.run()
            spent = time.perf_counter() - wall, time.process_time() - processor
            before = best[candidate.name]
            best[candidate.name] = min(before[0], spent[0]), min(before[1], spent[1])
    return best


def main(_: list[str]) -> None:
    device = jax.devices()[0].device_kind
    heads, channels = _HEADS.value, _CHANNELS.value
    print(f"1 row, {heads} heads of {channels} channels, {_DTYPE.value}, on {device}\n")
    print("| mask | scheme | length | attention | ms | processor ms | TFLOP/s | to the rival |")
    print("|---|---|---|---|---|---|---|---|")
    for name in _MASKS.value:
        for scheme in _SCHEMES.value:
            for length in _LENGTHS.value:
                mask = MASKS[name]
                best = measure(implementations(length, mask, scheme))
                flops = 12 * heads * channels * visible_pairs(mask, length)
                rivals = [best[rival] for rival in ("jax.nn", "torch") if rival in best]
                for entry, (wall, processor) in best.items():
                    ratio = ""
                    if rivals and entry not in ("jax.nn", "torch"):
                        faster = [min(times) for times in zip(*rivals, strict=True)]
                        ratio = f"{wall / faster[0]:.2f} ({processor / faster[1]:.2f})"
                    print(
                        f"| {mask} | {scheme} | {length} | {entry} | {wall * 1e3:.1f} "
                        f"| {processor * 1e3:.1f} | {flops / wall / 1e12:.3f} | {ratio} |",
                        flush=True,
                    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nPeak memory of the process: {peak:.2f} GiB")


if __name__ == "__main__":
    flag_command.run(main)
