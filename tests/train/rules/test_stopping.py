"""Early stopping: only when the score worsens while training, bucket by bucket, improves."""

import json

import pytest

from lengthwise.train.rules.stopping import EarlyStopping, StoppingConfig


def run(patience, windows, min_delta=0.0):
    """Steps at which it would stop; windows: a list of ({bucket: loss}, score)."""
    stopping = EarlyStopping(StoppingConfig(score="nll", patience=patience, min_delta=min_delta))
    for number, (losses, score) in enumerate(windows):
        for bucket, loss in losses.items():
            stopping.record_loss(bucket, loss)
        stopping.record_score(number, score)
        if stopping.should_stop:
            return number
    return None


def test_stops_after_patience_when_score_worsens_and_loss_falls():
    windows = [({8: 3.0}, 2.0), ({8: 2.9}, 2.1), ({8: 2.8}, 2.2), ({8: 2.7}, 2.3)]
    assert run(2, windows) == 2
    assert run(3, windows) == 3


def test_patience_zero_never_stops():
    assert run(0, [({8: 3.0 - i}, float(i)) for i in range(20)]) is None


def test_a_rising_training_loss_is_not_this_rule():
    assert run(1, [({8: 3.0}, 2.0), ({8: 3.5}, 2.5), ({8: 3.6}, 2.6)]) is None


def test_the_loss_is_compared_bucket_by_bucket():
    # The mean over steps falls (a curriculum moved to the easier bucket 64), each bucket's rises.
    first = {8: 4.0, 64: 2.0}
    assert run(1, [(first, 2.0), ({64: 2.1}, 2.5)]) is None
    # And the reverse: the mean rises, each bucket's falls.
    assert run(1, [({8: 4.0, 64: 2.0}, 2.0), ({8: 3.9}, 2.5)]) == 1


def test_an_improvement_clears_the_count():
    windows = [({8: 3.0}, 2.0), ({8: 2.9}, 2.1), ({8: 2.8}, 1.9), ({8: 2.7}, 2.0), ({8: 2.6}, 2.1)]
    assert run(2, windows) == 4


def test_min_delta_is_what_counts_as_better():
    windows = [({8: 3.0}, 2.0), ({8: 2.9}, 1.995), ({8: 2.8}, 1.992)]
    assert run(2, windows, min_delta=0.01) == 2
    assert run(2, windows) is None


@pytest.mark.parametrize("cut", range(12))
def test_restored_in_the_middle_it_goes_on_as_if_never_stopped(cut):
    config = StoppingConfig(score="nll", patience=2, min_delta=0.0)

    def events():
        for number in range(4):
            for bucket in (8, 64):
                yield "loss", bucket, 3.0 - 0.1 * number + bucket / 1000
            yield "score", number, 2.0 + 0.1 * number

    def feed(stopping, event):
        kind, a, b = event
        (stopping.record_loss if kind == "loss" else stopping.record_score)(a, b)

    straight, first = EarlyStopping(config), EarlyStopping(config)
    all_events = list(events())
    for event in all_events:
        feed(straight, event)
    for event in all_events[:cut]:
        feed(first, event)
    second = EarlyStopping(config)
    second.restore(json.loads(json.dumps(first.state())))
    for event in all_events[cut:]:
        feed(second, event)
    assert second.state() == straight.state()
    assert second.should_stop is straight.should_stop is True
