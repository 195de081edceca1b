"""Which checkpoints are kept, what a new process knows of them, and a disk that fills up."""

import resource
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.machine.processes import another_is_gone
from lengthwise.train.mesh import abstract_like
from lengthwise.train.step.update import TrainState

HOST = {"data_step": 0}
MORE_THAN_FITS = 1 << 17  # random float32 values; the limit is a tenth of their bytes

# TensorStore's threads tell of further errors to an event loop that Orbax closed at the first.
tensorstore_reports_late = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def state(value, size=8):
    """Two sharded arrays and a replicated counter, of random bits that don't compress."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    rng = np.random.default_rng(value)
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    weights = {"layer": {"w": rng.normal(size=(size, 2)).astype(np.float32)}}
    moments = {"layer": {"w": rng.normal(size=(size, 2)).astype(np.float32)}}
    return TrainState(
        params=jax.device_put(weights, sharded),
        opt_state=(jax.device_put(moments, sharded), jax.device_put(np.int32(value), whole)),
    )


def abstract(tree):
    return abstract_like(tree, jax.tree.map(lambda x: x.sharding, tree))


def assert_same(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.sharding == b.sharding


def steps_on_disk(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def wait_until_settled(directory):
    """TensorStore's threads write on for a while after the first error; a new process has none."""
    seen = None
    while seen != (now := sorted(map(str, directory.rglob("*")))):
        seen = now
        time.sleep(0.5)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def small_files():
    """A limit on the size of files, so that writes fail as they do on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(fits):
        size = before[0] if fits else MORE_THAN_FITS * 4 // 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_state_comes_back_bit_by_bit_and_in_its_place(directory):
    saved = state(3)
    checkpoints = Checkpoints(directory)
    checkpoints.save(3, saved, {"data_step": 3, "stopping": {"best_score": None}}, None)
    checkpoints.close()
    again = Checkpoints(directory)
    assert again.latest_step() == 3
    assert_same(again.restore(3, abstract(saved)), saved)
    host = again.host(3)
    assert host["data_step"] == 3
    assert host["stopping"] == {"best_score": None}
    again.close()


def test_weights_alone_come_back_without_the_optimizer(directory):
    saved = state(1)
    checkpoints = Checkpoints(directory)
    checkpoints.save(1, saved, HOST, None)
    checkpoints.wait()
    assert checkpoints.parameter_shapes(1) == {"layer.w": (8, 2)}
    assert_same(checkpoints.restore_params(1, abstract(saved.params)), saved.params)
    checkpoints.close()


def test_the_last_two_and_the_best_are_kept(directory):
    checkpoints = Checkpoints(directory)
    scores = {1: 3.0, 2: 1.0, 3: None, 4: 2.0, 5: None, 6: None}
    for step, score in scores.items():
        checkpoints.save(step, state(step), HOST, score)
    checkpoints.wait()
    assert checkpoints.best_step() == 2
    checkpoints.close()
    assert steps_on_disk(directory) == [2, 5, 6]
    again = Checkpoints(directory)  # a restarted run knows them too
    assert again.best_step() == 2
    assert_same(again.restore_params(2, abstract(state(2).params)), state(2).params)
    again.save(7, state(7), HOST, 0.5)
    again.save(8, state(8), HOST, None)
    again.save(9, state(9), HOST, None)
    again.close()
    assert steps_on_disk(directory) == [7, 8, 9]


def test_those_at_multiples_of_keep_every_stay_besides(directory):
    checkpoints = Checkpoints(directory, keep_every=4)
    for step in range(2, 15, 2):
        checkpoints.save(step, state(step), HOST, 1.0 if step == 6 else 2.0)
    checkpoints.close()
    assert steps_on_disk(directory) == [4, 6, 8, 12, 14]


def test_without_scores_there_is_no_best(directory):
    checkpoints = Checkpoints(directory)
    assert checkpoints.latest_step() is None
    assert checkpoints.best_step() is None
    for step in (1, 2, 3):
        checkpoints.save(step, state(step), HOST, None)
    checkpoints.close()
    assert Checkpoints(directory).best_step() is None
    assert steps_on_disk(directory) == [2, 3]


def test_another_format_is_named(directory, monkeypatch):
    monkeypatch.setattr("lengthwise.train.checkpoint.checkpoints.FORMAT_VERSION", 99)
    checkpoints = Checkpoints(directory)
    checkpoints.save(1, state(1), HOST, None)
    checkpoints.wait()
    monkeypatch.undo()
    with pytest.raises(UserError, match="checkpoint 1 has format 99, this code reads 3"):
        checkpoints.host(1)
    checkpoints.close()


@tensorstore_reports_late
def test_a_full_disk_keeps_what_is_there_and_a_new_process_goes_on(directory, small_files):
    checkpoints = Checkpoints(directory)
    checkpoints.save(1, state(1), HOST, 1.0)
    checkpoints.wait()
    small_files(False)
    checkpoints.save(2, state(2, MORE_THAN_FITS), HOST, None)  # fails behind our back
    message = r"could not be written \(File too large\); step 1 is the last good one; make room"
    with pytest.raises(UserError, match=message) as caught:
        checkpoints.wait()
    assert "\n" not in str(caught.value)
    checkpoints.close()  # what was said once isn't said again
    assert steps_on_disk(directory) == [1]
    wait_until_settled(directory)
    small_files(True)

    again = Checkpoints(directory)
    assert (again.latest_step(), again.best_step()) == (1, 1)
    assert_same(again.restore(1, abstract(state(1))), state(1))
    again.save(2, state(2, MORE_THAN_FITS), HOST, None)
    again.close()
    assert steps_on_disk(directory) == [1, 2]
    assert not list(directory.glob("*tmp*"))


@tensorstore_reports_late
@pytest.mark.parametrize(
    "later", [lambda c: c.save(2, state(2), HOST, None), lambda c: c.close()], ids=["save", "close"]
)
def test_a_save_that_failed_unseen_surfaces(directory, small_files, later):
    checkpoints = Checkpoints(directory)
    small_files(False)
    checkpoints.save(1, state(1, MORE_THAN_FITS), HOST, None)
    with pytest.raises(UserError, match=r"File too large\); there is none before"):
        later(checkpoints)


def test_a_directory_that_can_not_be_made_is_one_line(directory, monkeypatch):
    checkpoints = Checkpoints(directory)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device", str(directory / "1"))

    monkeypatch.setattr(ocp.CheckpointManager, "save", refuse)
    with pytest.raises(UserError, match=r"\(No space left on device\); there is none before"):
        checkpoints.save(1, state(1), HOST, None)


LOST = jax.errors.JaxRuntimeError("UNAVAILABLE: stopped sending heartbeats")
GLOO = "UNKNOWN: Gloo AllGather failed: [external/gloo/pair.cc:538] Read error: Connection reset"


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (TimeoutError("Timed out in async_write_complete."), LOST, "stopped sending heartbeats"),
        (ValueError(GLOO), None, "Gloo AllGather failed"),
    ],
)
def test_a_process_that_is_gone_is_no_full_disk(directory, monkeypatch, error, cause, said):
    def wait():
        raise error from cause

    checkpoints = Checkpoints(directory)
    monkeypatch.setattr(checkpoints._manager, "wait_until_finished", wait)
    with pytest.raises(jax.errors.JaxRuntimeError, match=said) as caught:
        checkpoints.wait()
    assert another_is_gone(caught.value)  # for which the status is 75
    assert not another_is_gone(ValueError("a fault of ours"))
