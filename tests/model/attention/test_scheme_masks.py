"""Every position scheme under every mask on every backend that serves it, against float64.

The rows of `test_schemes.batch` hold documents and padding, so that each mask is a document mask
too. `make test` runs every scheme, mask and backend, but not all of their combinations.
"""

import functools

import pytest

from lengthwise.model.attention import attention
from lengthwise.model.attention.backends.splash import splash_attention
from lengthwise.model.attention.backends.support import Request, refusal
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.scheme import BIASES
from tests.model.positions.schemes import CASES, decoder
from tests.model.positions.test_schemes import assert_matches_the_formulas

MASKS = {
    "causal": Mask(),
    "window": Mask(window=6),
    "sinks": Mask(window=5, sinks=2),
    "chunk": Mask(chunk=8),
    "prefix": Mask(prefix=7),
}
BACKENDS = ("dense", "blockwise", "splash")


def served(case, mask, backend):
    """Whether the backend declares that it serves the scheme; CONFIG has a soft cap, a linear bias
    on splash goes without."""
    bias = max((scheme.bias for scheme in decoder(case).layer_schemes), key=BIASES.index)
    return refusal(backend, Request(mask=MASKS[mask], bias=bias, segments=True)) is None


EVERY = [
    (case, mask, backend)
    for case in CASES
    for mask in MASKS
    for backend in BACKENDS
    if served(case, mask, backend)
]


def fast(case, mask, backend):
    """Each scheme under one mask, each mask on each backend."""
    names, cases = list(MASKS), list(CASES)
    if backend == "splash":
        return case == "alibi" and mask in ("sinks", "prefix")
    return backend == "blockwise" and names.index(mask) == cases.index(case) % len(names)


@pytest.mark.parametrize(
    ("case", "mask", "backend"),
    [pytest.param(*each, marks=() if fast(*each) else pytest.mark.slow) for each in EVERY],
)
def test_logits_and_gradients_match_float64(case, mask, backend, monkeypatch):
    changes = {"attention": backend}
    if backend == "splash":
        changes["attention_softcap"] = 0.0
        interpreted = functools.partial(splash_attention, interpret=True)
        monkeypatch.setattr(attention, "splash_attention", interpreted)
    assert_matches_the_formulas(decoder(case, **changes), MASKS[mask])


def test_what_the_kernel_for_tpus_serves():
    """A scheme that is left out by mistake would go untested, and run on slower attention."""
    on_splash = {case for case, _, backend in EVERY if backend == "splash"}
    assert on_splash == {"none", "alibi", "sinusoidal", "seqpe"}
