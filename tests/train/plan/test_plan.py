"""Plans by the real TPU compiler, and training that takes one."""

import json
import os
import subprocess
import sys

import pytest

from lengthwise.common.errors import UserError
from lengthwise.configs import dd
from lengthwise.configs.resolve import load
from lengthwise.train.mesh import ViewShape
from lengthwise.train.plan import planner
from lengthwise.train.plan.planner import topology_devices
from lengthwise.train.programs.execution import (
    BucketExecution,
    plan_fingerprint,
    planned_executions,
    write_plan,
)
from tests.model.attention.tpu_compiler import ENVIRONMENT, LIBRARY, ROOT

PUBLISHED = sorted((ROOT / "docs" / "plans").glob("*.json"))


def run(workdir, *flags, check=True):
    command = [sys.executable, "main.py", "--mode=plan", f"--workdir={workdir}", *flags]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr[-2000:]
    return done


SMALL = (
    "--config=configs/bytes.py",
    "--config.model.layers=2",
    "--config.phase.layout.smallest_bucket=256",
    "--config.phase.layout.largest_bucket=1024",
    "--config.phase.tokens_per_step=2048",
)


@pytest.mark.skipif(not LIBRARY.exists(), reason="`make test` installs libtpu, on x86-64")
@pytest.mark.parametrize("topology", ["v5e:2x2", "v6e:2x4"])
def test_every_bucket_of_a_small_model_is_compiled(tmp_path, topology):
    run(tmp_path, *SMALL, f"--config.mesh.topology={topology}")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert [row["length"] for row in plan["buckets"]] == [256, 512, 1024]
    devices = {"v5e:2x2": 4, "v6e:2x4": 8}[topology]
    for row in plan["buckets"]:
        view = row["view"]
        assert view["data"] * view["context"] == devices
        assert row["batch"] * row["length"] == 2048
        assert 0 < row["hbm_bytes"] < (1 - plan["margin"]) * plan["hbm_bytes"]
        assert row["collectives"]["all-gather"]["bytes"] > 0
    longest = plan["buckets"][-1]
    assert longest["view"]["context"] == devices // 2  # two rows
    assert longest["attention"] == "splash"


@pytest.mark.skipif(not LIBRARY.exists(), reason="`make test` installs libtpu, on x86-64")
@pytest.mark.parametrize("topology", ["v5e:3x", "v9z:2x2"])
def test_a_topology_that_is_none_is_told_which_are(tmp_path, topology):
    done = run(tmp_path, *SMALL, f"--config.mesh.topology={topology}", check=False)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert f"mesh.topology='{topology}' is no slice that can be compiled for (INVALID_" in said
    assert said.endswith("such as v5e:16x16, or as v5p:XxYxZ with even X and Y, such as v5p:4x4x4")
    assert "libtpu" not in said  # which is there


def test_no_topology_and_no_compiler_are_told(monkeypatch):
    def no_compiler(**_):
        raise RuntimeError("JAX TPU support not installed")

    monkeypatch.setattr(planner.topologies, "get_topology_desc", no_compiler)
    monkeypatch.setattr(planner, "find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(
        UserError, match=r"without libtpu \(JAX TPU support not .*pip install --no-d"
    ):
        topology_devices("v5e:2x2")
    with pytest.raises(UserError, match=r"mesh\.topology is empty; name a slice as v5e:RxC"):
        topology_devices("")


@pytest.mark.parametrize("topology", ["v5e:4x4x4", "v6e:2x2x1"])
def test_a_dimension_too_many_is_an_error_and_not_an_abort(topology):
    with pytest.raises(UserError, match="have two dimensions"):
        topology_devices(topology)


class OnePhase:
    number, lengths = 0, (64, 128)


def planned(lengths):
    view = {"slices": 1, "data": 2, "context": 1, "tensor": 1}
    rows = [
        {"phase": 0, "length": n, "view": view, "microbatches": 2, "remat": "full"} for n in lengths
    ]
    return {"fingerprint": "x", "buckets": rows}


def test_a_plan_comes_back_as_executions(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, planned((64, 128)))
    found = planned_executions(path, [OnePhase()], "x")
    execution = BucketExecution(ViewShape(1, 2, 1, 1), microbatches=2, remat="full")
    assert found == {(0, 64): execution, (0, 128): execution}
    with pytest.raises(UserError, match="another model, batch or number of devices"):
        planned_executions(path, [OnePhase()], "y")
    write_plan(path, planned((64,)))
    with pytest.raises(UserError, match="lacks bucket 128 of phase 1"):
        planned_executions(path, [OnePhase()], "x")
    assert planned_executions(tmp_path / "none.json", [OnePhase()], "x") is None
    path.write_text("{}")
    with pytest.raises(UserError, match="is no plan"):
        planned_executions(path, [OnePhase()], "x")


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_a_published_plan_is_that_of_its_config(path):
    size = path.stem.partition("-")[0].removeprefix("dd_")
    plan = json.loads(path.read_text())
    fingerprint = plan_fingerprint(load(dd.get_config(size), None), 50_432, plan["devices"])
    assert plan["fingerprint"] == fingerprint
