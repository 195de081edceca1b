import numpy as np
import pytest

from lengthwise.data.layouts.row_groups import Stratum
from lengthwise.train.loop.step_logger import losses_by_domain

# Two domains, one of them in two length bins; "code" stands first and last.
STRATA = (Stratum("code", 0), Stratum("prose", 0), Stratum("code", 512))


def test_losses_are_of_the_rows_of_a_domain_whatever_their_length_bin():
    nats, targets = np.array([6.0, 8.0, 1.0, 3.0], np.float32), np.array([3, 4, 1, 1], np.int32)
    losses, counts = losses_by_domain(nats, targets, np.array([0, 1, 2, 2]), STRATA)
    assert losses == {"code": 2.0, "prose": 2.0}
    assert counts == {"code": 5, "prose": 4}
    weighed = sum(losses[name] * counts[name] for name in losses)
    assert weighed / sum(counts.values()) == pytest.approx(nats.sum() / targets.sum())


def test_a_domain_that_the_batch_lacks_is_left_out():
    losses, counts = losses_by_domain(
        np.ones(2, np.float32), np.array([2, 0], np.int32), np.array([1, 0]), STRATA
    )
    assert losses == {"prose": 0.5}  # the row of "code" is padding alone
    assert counts == {"prose": 2}
