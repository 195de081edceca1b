"""The mean of the weights of checkpoints, against float64."""

import jax
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.average import average_params, steps_to_average
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from tests.train.checkpoint.test_checkpoint import abstract, state


def save(checkpoints, step, scaling):
    host = {"meaning": {"rope_scaling": {"kind": scaling}}}
    checkpoints.save(step, state(step), host, None)
    checkpoints.wait()


def test_the_mean_of_two_checkpoints_of_one_scaling(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep_every=1)
    for step, scaling in ((1, "none"), (2, "ntk"), (3, "ntk")):
        save(checkpoints, step, scaling)
    weights = [np.asarray(state(step).params["layer"]["w"], np.float64) for step in (2, 3)]
    shapes = abstract(state(0)).params
    found = average_params(checkpoints, [3, 2], shapes)
    np.testing.assert_allclose(found["layer"]["w"], np.mean(weights, axis=0), rtol=1e-6)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(shapes), strict=True):
        assert one.dtype == other.dtype
        assert one.sharding.is_equivalent_to(other.sharding, one.ndim)
    with pytest.raises(UserError, match="checkpoints 3 and 1 were trained under different"):
        average_params(checkpoints, [3, 2, 1], shapes)
    checkpoints.close()


def test_the_newest_up_to_the_one_that_is_scored():
    assert steps_to_average([10, 40, 30, 20], 30, 2) == [30, 20]
    with pytest.raises(UserError, match=r"eval\.average=3, but up to step 20 there are 2"):
        steps_to_average([10, 40, 30, 20], 20, 3)
