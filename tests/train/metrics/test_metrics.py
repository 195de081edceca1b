"""metrics.jsonl holds each step once, whatever was cut off and written again."""

import json
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from lengthwise.common.errors import UserError
from lengthwise.train.metrics.writer import CompileCounter, MetricsWriter, read_rows
from lengthwise.train.tracking.trackers.tensorboard import TensorBoard


def row(step, loss=1.0, **more):
    return {"kind": "train", "step": step, "bucket": 64, "loss": loss, "grad_norm": 0.5, **more}


def write(workdir, resume_step, steps, loss=1.0, **more):
    writer = MetricsWriter(workdir, resume_step=resume_step, trackers=[TensorBoard()])
    for step in steps:
        writer.write(row(step, loss, **more))
    writer.close()


def test_rows_after_the_checkpoint_are_cut_and_written_anew(tmp_path):
    write(tmp_path, 0, range(1, 8), loss=1.0)
    write(tmp_path, 4, range(5, 10), loss=2.0)
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in rows] == list(range(1, 10))
    assert [r["loss"] for r in rows] == [1.0] * 4 + [2.0] * 5


def test_a_last_line_cut_short_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(row(1)) + "\n" + json.dumps(row(2))[:9])
    assert read_rows(path) == [row(1)]
    write(tmp_path, 1, [2])
    assert read_rows(path) == [row(1), row(2)]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(row(1)) + "\nnonsense\n" + json.dumps(row(2)) + "\n")
    with pytest.raises(UserError, match="line 2"):
        read_rows(path)


def test_a_non_finite_number_is_refused(tmp_path):
    writer = MetricsWriter(tmp_path, resume_step=0, trackers=[TensorBoard()])
    with pytest.raises(ValueError, match="JSON"):
        writer.write(row(1, loss=float("nan")))
    writer.close()


def test_a_full_disk_is_one_line_and_blocks_nothing(tmp_path):
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = MetricsWriter(tmp_path, resume_step=0, trackers=[TensorBoard()])
    writer.write(row(1))
    writer.flush()
    writer.write(row(2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, unlimited[1]))  # fails like a full disk
    try:
        with pytest.raises(UserError, match=r"metrics\.jsonl .* \(File too large\); make room"):
            writer.flush()
        with pytest.raises(UserError, match="File too large"):
            writer.close()
        with pytest.raises(UserError, match="File too large"):
            write(tmp_path, 2, [])  # what is there is not cut, nor lost
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert read_rows(tmp_path / "metrics.jsonl")[0] == row(1)
    write(tmp_path, 1, [2])
    assert read_rows(tmp_path / "metrics.jsonl") == [row(1), row(2)]


def test_tensorboard_events_hold_the_loss_by_bucket_and_by_domain(tmp_path):
    write(tmp_path, 0, [1, 2], loss=1.5, losses={"prose": 2.5})
    (events,) = (tmp_path / "tensorboard").iterdir()
    scalars, data = [], events.read_bytes()
    while data:
        length = int(np.frombuffer(data[:8], np.uint64)[0])
        event = event_pb2.Event.FromString(data[12 : 12 + length])
        scalars += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
        data = data[16 + length :]
    assert ("loss_by_bucket/64", 2, 1.5) in scalars
    assert ("loss_by_domain/prose", 2, 2.5) in scalars


def test_compilations_are_counted_only_inside():
    counter = CompileCounter()
    x = np.ones(3, np.float32)
    with counter:
        jax.jit(lambda v: v * 2 + 1).lower(x).compile()
    jax.jit(lambda v: v * 3 + 1).lower(x).compile()
    assert counter.count == 1
    assert jnp.float32(1) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "train", "step": 2, "loss": NaN}', "line 2: not valid JSON .NaN is no number"),
        ("[1, 2]", "line 2: no row of metrics, which has a step; remove the line"),
        ('{"kind": "train", "step": "2"}', "line 2: no row of metrics"),
        ("[" * 100_000, "line 2: not valid JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line, message):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{json.dumps(row(1))}\n{line}\n{json.dumps(row(3))}\n")
    with pytest.raises(UserError, match=message):
        read_rows(path)


def test_a_field_that_a_row_lacks_is_named_where_it_is_missed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('\n{"kind": "train", "step": 7}\n')
    (found,) = read_rows(path)
    assert (found["step"], found.get("loss"), "loss" in found) == (7, None, False)
    with pytest.raises(UserError, match="line 2: the row of step 7 lacks 'loss'; remove the line"):
        found["loss"]
