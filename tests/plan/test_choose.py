"""What is chosen when the compiler says how much memory executions take."""

from types import SimpleNamespace

import jax
import pytest

from configs import dd_160m
from errors import UserError
from experiment import load
from plan.chips import CHIPS, GIB
from plan.choose import COMPILES, MARGIN, candidates, choose
from plan.cost import cost
from plan.shape import planned_phases, vocabulary
from train.mesh import MeshConfig

V5E, MESH = CHIPS["TPU v5 lite"], MeshConfig(slices=1, tensor=1)


@pytest.fixture(scope="module")
def model():
    settings = load(dd_160m.get_config(), None).train.model
    return settings.resolve(50_432, "tpu", 2048)


def program(hbm_bytes):
    memory = SimpleNamespace(
        argument_size_in_bytes=0,
        output_size_in_bytes=0,
        alias_size_in_bytes=0,
        temp_size_in_bytes=hbm_bytes,
    )
    return SimpleNamespace(memory_analysis=lambda: memory, as_text=lambda: "")


# What libtpu was seen to say, with the gibibytes in the place of those.
USED = "RESOURCE_EXHAUSTED: Used {:.2f}G of 15.75G hbm."
TEMPORARIES = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "({:.2f}G) exceeds available HBM (15.75G)."
)


def chosen(model, truth, devices=8, batch=64, message=USED):
    """The choice and what was compiled, where the compiler says `truth(execution)` bytes."""
    asked = []

    def compile_one(execution):
        asked.append(execution)
        needed = truth(execution)
        if needed > V5E.hbm_bytes:
            raise jax.errors.JaxRuntimeError(message.format(needed / GIB))
        return program(needed)

    return choose(model, 2048, batch, MESH, devices, V5E, compile_one), asked


def test_the_cheapest_that_fits_is_taken_and_a_wrong_estimate_corrected(model):
    truth = lambda e: cost(model, 2048, 64, e).hbm_bytes * 1.3
    found, asked = chosen(model, truth)
    assert found.fits
    assert len(asked) <= COMPILES
    assert truth(found.execution) <= V5E.hbm_bytes * (1 - MARGIN)
    best = max(found.cost.seconds(V5E).values())
    for other in candidates(2048, 64, MESH, 8):
        if truth(other) < 0.9 * V5E.hbm_bytes * (1 - MARGIN):
            seconds = max(cost(model, 2048, 64, other).seconds(V5E).values())
            assert seconds >= best * 0.999


@pytest.mark.parametrize("message", [USED, TEMPORARIES])
def test_what_never_fits_is_named_with_what_it_lacks(model, message):
    needs = r"bucket 2048 needs 40\.00 GiB a chip at least, 25\.28 GiB more"
    with pytest.raises(UserError, match=needs):
        chosen(model, lambda e: 40 * GIB, message=message)


def test_other_errors_of_the_compiler_are_not_taken_for_a_lack_of_memory(model):
    def broken(execution):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
        choose(model, 2048, 64, MESH, 8, V5E, broken)


def test_remat_and_microbatches_save_memory_and_cost_time(model):
    by = {
        (e.microbatches, e.remat): cost(model, 2048, 64, e) for e in candidates(2048, 64, MESH, 8)
    }
    whole, parts = by[1, "none"], by[8, "none"]
    assert parts.hbm_bytes < whole.hbm_bytes
    assert parts.link_traffic > whole.link_traffic
    assert by[1, "offload"].hbm_bytes < by[1, "full"].hbm_bytes < by[1, "dots"].hbm_bytes
    assert by[1, "dots"].hbm_bytes < whole.hbm_bytes
    assert by[1, "full"].flops > by[1, "dots"].flops > whole.flops


def test_buckets_and_vocabulary_need_no_data():
    experiment = load(dd_160m.get_config(), None)
    (phase,) = planned_phases(experiment.train.phases)
    assert phase.lengths == (256, 512, 1024, 2048, 4096, 8192)
    assert {length: phase.batch_size(length) for length in (256, 8192)} == {256: 2048, 8192: 64}
    assert vocabulary(experiment.data) == 50_432
