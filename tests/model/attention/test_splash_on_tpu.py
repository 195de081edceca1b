"""The real TPU compiler takes the kernel, forward and backward: it refuses more than interpreting.

A selection in which every pair of settings occurs; all of them in the slow test. Needs libtpu,
which runs on any Linux machine on x86-64.
"""

import itertools

import pytest

from lengthwise.model.attention.backends.support import Request, refusal
from lengthwise.model.attention.masks import Mask
from tests.model.attention.tpu_compiler import LIBRARY, Case, compile_cases

SETTINGS = {
    "chip": ("v5e", "v5p", "v6e"),
    "mask": ({}, {"window": 300, "sinks": 4}, {"chunk": 256, "sinks": 2}, {"prefix": 100}),
    "extra": ({}, {"bias": "linear"}, {"softcap": 30.0}),
    "segments": (False, True),
    "shape": (
        {"head_dim": 128, "length": 1024},
        {"head_dim": 64, "length": 2000},
        {"head_dim": 32, "length": 64, "dtype": "float32"},
    ),
    "mesh": ((1, 1, 1), (2, 1, 2), (1, 2, 2)),
}


def case_of(chip, mask, extra, segments, shape, mesh):
    return Case(chip=chip, mask=mask, segments=segments, mesh=mesh, **extra, **shape)


def every_choice():
    """All but those that the kernel is never asked for: rows that can't be shared."""
    choices = itertools.product(*(range(len(values)) for values in SETTINGS.values()))
    return [choice for choice in choices if refusal("splash", request_of(choice)) is None]


def values_of(choice):
    return [values[n] for values, n in zip(SETTINGS.values(), choice, strict=True)]


def request_of(choice):
    case = case_of(*values_of(choice))
    return Request(
        mask=Mask(**case.mask),
        bias=case.bias,
        softcap=bool(case.softcap),
        length=case.length,
        row_devices=case.mesh[1],
    )


def pairs_of(choice):
    return set(itertools.combinations(enumerate(choice), 2))


def covering(choices):
    """Choices, greedily, until every pair of values of two settings has occurred."""
    missing = set().union(*map(pairs_of, choices))
    chosen = []
    while missing:
        best = max(choices, key=lambda choice: len(pairs_of(choice) & missing))
        chosen.append(best)
        missing -= pairs_of(best)
    return chosen


def compiled(choices):
    cases = [case_of(*values_of(choice)) for choice in choices]
    failed = {
        str(case): result
        for case, result in zip(cases, compile_cases(cases), strict=True)
        if not isinstance(result, int)
    }
    assert not failed
    return cases


@pytest.mark.skipif(not LIBRARY.exists(), reason="`make test` installs libtpu, on x86-64")
class TestOnTpu:
    def test_every_pair_of_settings_compiles(self):
        cases = compiled(covering(every_choice()))
        assert {case.chip for case in cases} == set(SETTINGS["chip"])

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_everything_supported_compiles(self):
        compiled(every_choice())

    @pytest.mark.slow
    @pytest.mark.parametrize(("length", "devices"), [(131_072, 16), (1_048_576, 64)])
    def test_long_rows_of_several_documents_compile(self, length, devices):
        """Segment ids lie in HBM; SMEM holds the blocks that a device's own queries see."""
        case = Case("v5p-128", {}, segments=True, length=length, mesh=(1, devices, 1))
        (result,) = compile_cases([case])
        assert isinstance(result, int), result
