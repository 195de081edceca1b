"""What is chosen when the compiler says how much memory executions take."""

import re
from types import SimpleNamespace

import jax
import pytest

from lengthwise.common.errors import UserError
from lengthwise.configs import dd
from lengthwise.configs.resolve import load
from lengthwise.model.spec import ModelSpec
from lengthwise.train.config import MeshConfig
from lengthwise.train.plan.chips import CHIPS, GIB
from lengthwise.train.plan.choose import CAUTION, COMPILES, MARGIN, candidates, choose
from lengthwise.train.plan.cost import cost
from lengthwise.train.plan.shape import planned_phases, vocabulary

V5E, MESH = CHIPS["TPU v5 lite"], MeshConfig(slices=1, tensor=1)


@pytest.fixture(scope="module")
def model():
    settings = load(dd.get_config("160m"), None).model
    return ModelSpec.of(settings, 50_432, "tpu")


@pytest.fixture(scope="module")
def large():
    return ModelSpec.of(load(dd.get_config("7b"), None).model, 50_432, "tpu")


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
    with pytest.raises(UserError, match=needs) as error:
        chosen(model, lambda e: 40 * GIB, message=message)
    # By the estimate that this corrects, what no chips divide is too much already.
    nothing = "neither more chips make it fit, up to the 256 of mesh.slices=1, nor fewer tokens_per"
    assert nothing in str(error.value)


@pytest.mark.parametrize("factor", [1.0, 1.4])
def test_so_many_chips_as_are_named_are_enough_and_half_are_not(large, factor):
    truth = lambda e: cost(large, 2048, 64, e).hbm_bytes * factor
    named = advised(lambda: chosen(large, truth, devices=4), r"on (\d+) chips")
    assert named == (16 if factor == 1.0 else 32)
    found, _ = chosen(large, truth, devices=named)
    assert found.fits
    with pytest.raises(UserError, match=f"by estimate it fits on {named} chips"):
        chosen(large, truth, devices=named // 2)


def test_as_many_tokens_a_step_as_are_named_fit_and_twice_as_many_do_not(large):
    truth = lambda batch: lambda e: cost(large, 2048, batch, e).hbm_bytes * 0.83
    named = advised(lambda: chosen(large, truth(64), devices=8, batch=64), r"tokens_per_step=(\d+)")
    batch = named // 2048
    assert 1 <= batch < 64
    found, _ = chosen(large, truth(batch), devices=8, batch=batch)
    assert found.fits
    least = min(truth(2 * batch)(e) for e in candidates(2048, 2 * batch, MESH, 8))
    assert least * CAUTION > V5E.hbm_bytes * (1 - MARGIN)


def advised(choice, pattern):
    """The number in the advice that the error of `choice` ends with."""
    with pytest.raises(UserError, match="; by estimate it fits ") as error:
        choice()
    return int(re.search(pattern, str(error.value).split("by estimate")[1])[1])


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
    experiment = load(dd.get_config("160m"), None)
    (phase,) = planned_phases(experiment.phases)
    assert phase.lengths == (256, 512, 1024, 2048, 4096, 8192)
    assert {length: phase.batch_size(length) for length in (256, 8192)} == {256: 2048, 8192: 64}
    assert vocabulary(experiment.data) == 50_432
