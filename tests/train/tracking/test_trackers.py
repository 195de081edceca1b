"""Trackers see every row once, the same run goes on in them, and card and pictures arrive."""

import importlib.util
import json
from dataclasses import dataclass, field

import pytest
from tensorboardX.proto import event_pb2

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Components
from lengthwise.train.metrics.writer import MetricsWriter
from lengthwise.train.tracking.registry import TRACKERS
from lengthwise.train.tracking.tracker import Tracker, TrackingConfig, figures, opened, run_name
from lengthwise.train.tracking.trackers.tensorboard import TensorBoard

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Recorder(Tracker):
    calls: list = field(default_factory=list)

    def open(self, workdir, step):
        self.calls.append(("open", step))

    def write(self, row):
        self.calls.append(("write", row["step"]))

    def cut_back(self, step):
        self.calls.append(("cut_back", step))

    def flush(self):
        self.calls.append(("flush",))

    def close(self):
        self.calls.append(("close",))


def train_row(step):
    return {"kind": "train", "step": step, "bucket": 64, "loss": 1.5, "grad_norm": 0.5}


def tracking(*names, **sections):
    settings = tuple((name, tuple(of.items())) for name, of in sections.items())
    return TrackingConfig(names, Components(TRACKERS, "tracking", settings))


def test_a_tracker_is_told_of_rows_rollbacks_and_the_end(tmp_path):
    recorder = Recorder()
    writer = MetricsWriter(tmp_path, resume_step=4, trackers=[recorder])
    writer.write(train_row(5))
    writer.cut_back(4, rollbacks=0)
    writer.write(train_row(5))
    writer.close()
    assert recorder.calls == [
        ("open", 4), ("write", 5), ("cut_back", 4), ("write", 5), ("flush",), ("close",)
    ]  # fmt: skip


def test_figures_are_those_of_each_kind_of_row():
    row = train_row(3) | {"losses": {"prose": 2.5}, "checksum": "text"}
    assert figures(row) == {
        "train/bucket": 64, "train/loss": 1.5, "train/grad_norm": 0.5,
        "loss_by_bucket/64": 1.5, "grad_norm_by_bucket/64": 0.5, "loss_by_domain/prose": 2.5,
    }  # fmt: skip
    evaluated = {"kind": "eval", "step": 3, "score": 2.0, "scores": {"passkey@128": {"value": 0.5}}}
    assert figures(evaluated) == {"eval/score": 2.0, "scores/passkey@128": 0.5}


def test_a_run_keeps_its_name_in_each_tracker(tmp_path):
    name = run_name(tmp_path, "wandb")
    assert name.startswith(f"{tmp_path.name}-")
    assert run_name(tmp_path, "trackio") != name
    assert run_name(tmp_path, "wandb") == name
    (tmp_path / "trackers.json").write_text("[1")
    with pytest.raises(UserError, match=r"trackers\.json holds no names"):
        run_name(tmp_path, "wandb")


def test_what_was_opened_is_closed_where_another_cannot_be(tmp_path):
    class Broken(Recorder):
        def open(self, workdir, step):
            raise OSError(28, "No space left on device")

    recorder = Recorder()
    with pytest.raises(UserError, match="No space left"):
        MetricsWriter(tmp_path, resume_step=0, trackers=[recorder, Broken()])
    assert recorder.calls == [("open", 0), ("close",)]


def test_unknown_and_doubled_names_are_refused():
    with pytest.raises(UserError, match=r"tracking\.trackers='mlflow' is unknown"):
        tracking("mlflow").make()
    with pytest.raises(UserError, match="names 'tensorboard' twice"):
        tracking("tensorboard", "tensorboard").make()
    with pytest.raises(UserError, match=r"tracking\.wandb\.mode"):
        tracking("wandb", wandb={"mode": "perhaps"}).make()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_library_that_is_missing_is_one_line(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"{name} isn't installed; pip install -r requirements-tr"):
        tracking(name).check()


def records(path):
    """The payloads of a file of events."""
    data, found = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_tensorboard_shows_numbers_and_pictures_of_the_card(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    with opened([TensorBoard()], tmp_path, 7) as (board,):
        board.summarize({"card/l_train": 64.0}, {"report/a": tmp_path / "a.png"})
    (path,) = (tmp_path / "tensorboard").iterdir()
    values = [(e.step, v) for e in records(path) for v in e.summary.value]
    assert [(step, v.tag, v.simple_value) for step, v in values[:1]] == [(7, "card/l_train", 64.0)]
    assert (values[1][1].tag, values[1][1].image.encoded_image_string) == ("report/a", PNG)


def picture(path):
    pyplot = pytest.importorskip("matplotlib.figure")
    pyplot.Figure(figsize=(1, 1)).savefig(path, format="png")
    return path


def follow(workdir, name, **settings):
    """Trains 1 to 3, is killed back to 2, goes on to 4, and is scored."""
    (workdir / "config.json").write_text(json.dumps({"version": 3, "phases": [], "seed": 5}))
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        trackers = tracking(name, **{name: settings}).make()
        writer = MetricsWriter(workdir, resume_step=start, trackers=trackers)
        for step in steps:
            writer.write(train_row(step))
        writer.close()
    pictures = {"report/a": picture(workdir / "a.png")}
    with opened(tracking(name, **{name: settings}).make(), workdir, 4) as (tracker,):
        tracker.summarize({"card/l_train": 64.0}, pictures)


def leveldb_log(content):
    """Records of a file of wandb: LevelDB's log format behind a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no header fits into the rest of a block
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


def test_wandb_offline_holds_one_run(tmp_path):
    pytest.importorskip("wandb", reason="requirements-trackers.txt brings it")
    from wandb.proto import wandb_internal_pb2

    follow(tmp_path, "wandb", mode="offline", project="p")
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    names, losses, config, summary = set(), [], "", {}
    for path in files:
        for data in leveldb_log(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                names.add((record.run.project, record.run.run_id))
                config += str(record.run.config)
            items = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
            if "train/loss" in items:
                losses.append((items["step"], items["train/loss"]))
            summary |= {i.key or "/".join(i.nested_key): 1 for i in record.summary.update}
            summary |= dict.fromkeys((name.removesuffix("/path") for name in items), 1)
    assert names == {("p", run_name(tmp_path, "wandb"))}
    assert losses == [(str(step), "1.5") for step in (1, 2, 3, 3, 4)]
    assert '"seed"' in config
    assert {"card/l_train", "report/a"} <= summary.keys()


def test_trackio_holds_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "database"))
    pytest.importorskip("trackio", reason="requirements-trackers.txt brings it")
    from trackio.sqlite_storage import SQLiteStorage

    follow(tmp_path, "trackio", project="p")
    assert SQLiteStorage.get_runs("p") == [run_name(tmp_path, "trackio")]
    rows = SQLiteStorage.get_logs("p", run_name(tmp_path, "trackio"))
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(step, 1.5) for step in (1, 2, 3, 3, 4)]
    (scored,) = (row for row in rows if "card/l_train" in row)
    assert "report/a" in scored
