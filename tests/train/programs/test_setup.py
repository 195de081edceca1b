"""A run on eight devices: the same losses as on one, no parameter moved, nothing compiled late."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split
from lengthwise.model.positions.settings import ContextExtension
from lengthwise.train.config import MeshConfig
from lengthwise.train.mesh import ViewShape
from lengthwise.train.phases import Phases
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.execution import BucketExecution
from lengthwise.train.programs.inputs import step_inputs
from lengthwise.train.programs.setup import Setup
from lengthwise.train.seeds import SeedsConfig
from lengthwise.train.step.update import TrainState
from tests import tiny

LENGTHS = (16, 32, 64)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    config = tiny.get_config()
    config.data.path = str(tiny.write_corpus(tmp_path_factory.mktemp("corpus")))
    config.phase.tokens_per_step = 128  # batches of 8, 4 and 2 rows: three views of 8 devices
    return load(config, None)


@pytest.fixture(scope="module")
def phases(experiment, tmp_path_factory):
    store = prepare(experiment.data, tmp_path_factory.mktemp("store"))
    return Phases(experiment.phases, store, experiment.resolved_seeds)


def setup_on(experiment, phases, devices, **changes):
    return Setup(dataclasses.replace(experiment, **changes), phases, devices)


def run_steps(setup, count, state=None):
    """Losses and checksums of the first steps, and the state after them."""
    state = state or setup.initial_state()
    steps = {}
    found = []
    for step, (phase, batch, arrays) in zip(range(count), setup.device_batches(0), strict=False):
        key = (phase.number, batch.length)
        if key not in steps:
            steps[key] = setup.blueprint.compile_step(key)
        state, metrics = steps[key](state, arrays, setup.inputs(phase, step, batch.length))
        found.append((batch.length, float(metrics["loss"]), int(metrics["checksum"])))
    return found, state


@pytest.fixture(scope="module")
def one_device(experiment, phases):
    return run_steps(setup_on(experiment, phases, jax.devices()[:1]), 6)[0]


@pytest.mark.parametrize(("slices", "tensor"), [(1, 1), (1, 2), (2, 1)])
def test_losses_do_not_depend_on_the_devices(experiment, phases, one_device, slices, tensor):
    mesh = MeshConfig(slices=slices, tensor=tensor)
    setup = setup_on(experiment, phases, jax.devices(), mesh=mesh)
    assert len({execution.view for execution in setup.blueprint.executions.values()}) > 1
    found, _ = run_steps(setup, 6)
    assert [length for length, _, _ in found] == [length for length, _, _ in one_device]
    # Dropout is on: its masks, too, must not depend on how the batch is sharded.
    losses = [loss for _, loss, _ in found]
    np.testing.assert_allclose(losses, [loss for _, loss, _ in one_device], rtol=2e-5)


def placement(tree):
    """Device and index of every shard of every leaf."""
    return [
        sorted((shard.device.id, str(shard.index)) for shard in leaf.addressable_shards)
        for leaf in jax.tree.leaves(tree)
    ]


def test_changing_bucket_moves_no_parameter(experiment, phases):
    setup = setup_on(experiment, phases, jax.devices())
    steps = {length: setup.blueprint.compile_step((0, length)) for length in LENGTHS}
    state = setup.initial_state()
    before = placement(state)
    check_takes(steps[16], before, state)
    transposed = born_on_another_order(setup)
    with pytest.raises(AssertionError):
        check_takes(steps[16], before, transposed)
    sharded = [leaf for leaf in jax.tree.leaves(state.params) if not leaf.is_fully_replicated]
    assert sharded
    firsts = {}
    for phase, batch, arrays in setup.device_batches(0):
        firsts.setdefault(batch.length, (phase, arrays))
        if len(firsts) == len(LENGTHS):
            break
    inputs = jax.device_put(
        setup.inputs(phase, 0, batch.length),
        jax.sharding.NamedSharding(setup.blueprint.home, jax.P()),
    )
    for length in (64, 16, 32, 64):
        with jax.transfer_guard("disallow"):
            state, _ = steps[length](state, firsts[length][1], inputs)
        check_takes(steps[length], before, state)


def test_moments_of_some_parameters_alone_lie_where_those_do(experiment, phases):
    """Muon's are of the matrices of the blocks, Adam's beside it of the others."""
    muon = dataclasses.replace(experiment.optimizer, name="muon")
    state = setup_on(experiment, phases, jax.devices(), optimizer=muon).blueprint.abstract_state
    flatten = jax.tree_util.tree_flatten_with_path
    parameters = {path: leaf.sharding for path, leaf in flatten(state.params)[0]}
    assert any(not sharding.is_fully_replicated for sharding in parameters.values())
    moments = dict.fromkeys(parameters, 0)
    for path, leaf in flatten(state.opt_state)[0]:
        for parameter in parameters:
            if path[-len(parameter) :] == parameter:
                assert leaf.sharding == parameters[parameter]
                moments[parameter] += 1
    for parameter, count in moments.items():
        of_muon = parameter[-1].key in ("value", "output", "gate", "up", "down")
        assert count == (1 if of_muon else 2), parameter


def check_takes(step, places, state):
    """The state lies in these places, the very ones that the step asks for: none is moved."""
    assert placement(state) == places
    wanted = jax.tree.leaves(step.input_shardings[0][0])
    for leaf, sharding in zip(jax.tree.leaves(state), wanted, strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


def born_on_another_order(setup):
    """The first state under a view of the same shape whose order of devices is transposed."""
    grid = setup.blueprint.home.devices
    mesh = jax.sharding.Mesh(
        np.reshape(grid.reshape(2, 4).T, grid.shape), setup.blueprint.home.axis_names
    )
    return jax.tree.map(
        lambda x: jax.device_put(x, jax.sharding.NamedSharding(mesh, x.sharding.spec)),
        setup.initial_state(),
    )


def test_the_choices_of_a_plan_replace_those_of_the_config(experiment, phases, one_device):
    """Views, microbatches and remat are of a bucket; losses are the same, dropout included."""
    assert experiment.model.dropout > 0
    asked = {
        (0, 16): BucketExecution(ViewShape(2, 1, 4, 1), microbatches=4, remat="full"),
        (0, 32): BucketExecution(ViewShape(2, 2, 2, 1), microbatches=1, remat="none"),
        (0, 64): BucketExecution(ViewShape(2, 1, 4, 1), microbatches=1, remat="full"),
    }
    config = dataclasses.replace(experiment, mesh=MeshConfig(2, 1))
    for view, microbatches, message in (
        (ViewShape(2, 1, 4, 1), 2, "64: 2 rows can't be divided into 2 microbatches"),
        (ViewShape(1, 2, 4, 1), 1, "doesn't have mesh.slices=2"),
        (ViewShape(2, 1, 2, 1), 1, "is of 4 devices, but there are 8"),
    ):
        wrong = {**asked, (0, 64): BucketExecution(view, microbatches, remat="none")}
        with pytest.raises(UserError, match=message):
            Setup(config, phases, jax.devices(), wrong)
    setup = Setup(config, phases, jax.devices(), asked)
    for key, execution in asked.items():
        assert tuple(setup.blueprint.shardings[key].mesh.shape.values()) == dataclasses.astuple(
            execution.view
        )
        program = setup.blueprint.compile_step(key).as_text()
        # The loop over parts; random numbers have loops of their own.
        loops = re.findall(r'while\(.*op_name="jit\(train_step\)/while"', program)
        assert bool(loops) == (execution.microbatches > 1)
        # Parameters are gathered anew under every policy; only "full" computes anew.
        again = re.search(r'rematted_computation[^"]*dot_general', program)
        assert bool(again) == (execution.remat == "full")
    found, _ = run_steps(setup, 6)
    np.testing.assert_allclose(
        [loss for _, loss, _ in found], [loss for _, loss, _ in one_device], rtol=2e-5
    )


@pytest.mark.parametrize(
    ("scheme", "extension", "microbatches"),
    [
        ("rope", ContextExtension("pose", 96), (1, 2, 4)),
        ("learned", ContextExtension("shift", 96), (1, 4)),
        ("abacus", ContextExtension(), (1, 4)),
    ],
)
def test_microbatches_draw_what_the_whole_batch_does(
    experiment, phases, scheme, extension, microbatches
):
    """Dropout, and the positions of each row; the offset of "abacus", which all rows share."""
    model = dataclasses.replace(
        experiment.model,
        dropout=0.3,
        positions=dataclasses.replace(experiment.model.positions, scheme=scheme),
    )
    config = dataclasses.replace(experiment, model=model)
    (phase,) = phases.phases
    shape = dataclasses.replace(
        phase, config=dataclasses.replace(phase.config, positions=extension)
    )
    rows = np.random.default_rng(0).integers(40, 60, (8, 17)).astype(np.int32)  # digits among them
    batch = {"inputs": rows[:, :-1], "targets": rows[:, 1:]}
    batch["segment_ids"] = np.ones((8, 16), np.int32)
    batch["positions"] = np.tile(np.arange(16, dtype=np.int32), (8, 1))
    figures, by_row = [], None
    for parts in microbatches:
        executions = {
            (0, length): BucketExecution(
                ViewShape(1, 1, 1, 1), parts if length == 16 else 1, "none"
            )
            for length in LENGTHS
        }
        blueprint = Blueprint(config, [shape], 257, jax.devices()[:1], executions)
        params = blueprint.init_params(0)
        state = TrainState(params, blueprint.optimizer.init(params))
        inputs = step_inputs(shape, 3, 16, 5, blueprint.tables)
        _, metrics = jax.jit(blueprint.train_step((0, 16)))(state, batch, inputs)
        figures.append([metrics[n] for n in ("loss", "grad_norm", "param_norm")])
        by_row = metrics["nats_B"] if by_row is None else by_row
        np.testing.assert_allclose(metrics["nats_B"], by_row, rtol=1e-5)
    np.testing.assert_allclose(figures, [figures[0]] * len(figures), rtol=2e-5)


def test_every_step_sees_the_store_through_the_schedule_alone(experiment, phases):
    setup = setup_on(experiment, phases, jax.devices())
    phase = phases.phases[0]
    for step, (_, batch, arrays) in zip(range(5), setup.device_batches(7), strict=False):
        draw = phase.schedule.draw(7 + step)
        assert batch.length == draw.length == arrays["inputs"].shape[1]
        np.testing.assert_array_equal(batch.rows, draw.rows)
    train = set(phases.store.documents(Split.TRAIN).tolist())
    for bucket in phase.layout.buckets.values():
        documents = (
            np.searchsorted(
                phases.store.document_offsets,
                bucket.pieces(np.arange(bucket.rows)).start,
                side="right",
            )
            - 1
        )
        assert set(documents.tolist()) <= train


def test_random_state_is_a_function_of_seed_and_step(experiment, phases, one_device):
    setup = setup_on(experiment, phases, jax.devices()[:1])
    again, _ = run_steps(setup, 3)
    assert again == one_device[:3]
    other, _ = run_steps(
        setup_on(experiment, phases, jax.devices()[:1], seeds=SeedsConfig(1, 1, 1, 1)), 1
    )
    assert other[0][1] != one_device[0][1]


def test_the_index_of_a_large_store_is_kept_and_opened_again(
    experiment, phases, tmp_path, monkeypatch
):
    monkeypatch.setattr("lengthwise.train.phases.IN_MEMORY_DOCUMENTS", 10)
    for _ in range(2):
        kept = Phases(experiment.phases, phases.store, experiment.resolved_seeds, tmp_path)
        assert kept.fingerprint() == phases.fingerprint()
        (index,) = (tmp_path / "layouts").iterdir()
        assert (index / "rows-16.bin").stat().st_size == 8 * kept.at(0).layout.buckets[16].rows
    with (index / "rows-16.bin").open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(UserError, match=r"rows-16\.bin is damaged \(wrong checksum\)"):
        Phases(experiment.phases, phases.store, experiment.resolved_seeds, tmp_path, verify=True)
    monkeypatch.setattr("lengthwise.train.phases.IN_MEMORY_DOCUMENTS", 10**6)
    Phases(experiment.phases, phases.store, experiment.resolved_seeds, tmp_path / "small")
    assert not (tmp_path / "small").exists()
