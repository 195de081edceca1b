"""Collectives counted as often as they are run, by what a device receives."""

import json
import os
import subprocess
import sys

import pytest

from lengthwise.train.plan.collectives import Traffic, collectives, traffic
from tests.model.attention.tpu_compiler import ENVIRONMENT, LIBRARY, ROOT
from tests.train.plan.compiled_collectives import ROUNDS, M, N

MODULE = """HloModule step, num_partitions=4

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%inner (p: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %g = bf16[8,4]{1,0} all-gather(%x), replica_groups={{0,1},{2,3}}, dimensions={0}
}

%inner_condition (p: (s32[], bf16[8,4])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

%outer (p: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %w = (s32[], bf16[8,4]) while(%t), condition=%inner_condition, body=%inner
  %r = (f32[16], f32[4]) all-reduce(%a, %b), replica_groups=mesh['x'=2,'y'=2] {'x','y'}
}

%outer_condition (p: (s32[], bf16[8,4])) -> pred[] {
  %n = s32[] constant(5)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p0: f32[16]) -> f32[16] {
  %w = (s32[], bf16[8,4]) while(%t), condition=%outer_condition, body=%outer
  %s = (bf16[2,4], bf16[8,4]) all-gather-start(%x), replica_groups=[1,4]<=[4], dimensions={0}
  %d = bf16[8,4] all-gather-done(%s)
  %c = f32[16]{0} reduce-scatter(%y), to_apply=%add
}
"""


def test_loops_multiply_what_is_in_them():
    gathered, reduced, part = 8 * 4 * 2, (16 + 4) * 4, 16 * 4
    assert traffic(MODULE) == {
        "all-gather": Traffic(3 * 5 + 1, 3 * 5 * gathered // 2 + gathered * 3 // 4),
        "all-reduce": Traffic(5, 5 * 2 * reduced * 3 // 4),
        "reduce-scatter": Traffic(1, part * 3),
    }


@pytest.mark.skipif(not LIBRARY.exists(), reason="`make test` installs libtpu, on x86-64")
def test_a_compiled_program_of_known_collectives():
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.plan.compiled_collectives"],
        env={**os.environ, **ENVIRONMENT},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    whole = N * M * 4
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "all-gather": [ROUNDS, ROUNDS * whole * 3 // 4],
        "reduce-scatter": [ROUNDS, ROUNDS * whole * 3 // 4],
        "all-to-all": [1, whole // 4 * 3 // 4],
        "collective-permute": [1, whole // 4],
        "all-reduce": [1, 2 * whole * 3 // 4],
    }


def test_a_loop_of_unknown_length_is_no_guess():
    unknown = MODULE.replace("direction=LT", "direction=NE")
    with pytest.raises(ValueError, match="unknown rounds"):
        traffic(unknown)


def test_such_a_loop_without_collectives_does_not_matter():
    silent = MODULE.replace("all-gather(%x)", "copy(%x)").replace("constant(3)", "parameter(0)")
    assert traffic(silent)["all-reduce"].count == 5


def test_a_collective_that_runs_beside_several_fusions_counts_once():
    fused = """%fused.{n} (p: bf16[8,4]) -> bf16[8,4] {{
  ROOT %g.{n} = bf16[8,4]{{1,0}} all-gather(%p), channel_id=1, frontend_attributes={{chain_id="7"}}
}}

"""
    calls = "".join(f"  %f.{n} = bf16[8,4] fusion(%x), calls=%fused.{n}\n" for n in range(3))
    # Those that are written by hand have one channel, and are not one.
    others = "".join(f"  %o.{n} = bf16[8,4] all-gather(%x), channel_id=1\n" for n in range(2))
    module = (
        "HloModule step, num_partitions=4\n\n"
        + "".join(fused.format(n=n) for n in range(3))
        + f"ENTRY %main (p0: f32[16]) -> f32[16] {{\n{calls}{others}}}\n"
    )
    assert traffic(module) == {"all-gather": Traffic(3, 3 * 8 * 4 * 2 * 3 // 4)}


def test_a_computation_that_is_called_twice_runs_twice():
    module = """HloModule step, num_partitions=4

%twice (p: bf16[8,4]) -> bf16[8,4] {
  ROOT %g = bf16[8,4]{1,0} all-gather(%p), channel_id=1
}

ENTRY %main (p0: f32[16]) -> f32[16] {
  %a = bf16[8,4] call(%x), to_apply=%twice
  %b = bf16[8,4] call(%a), to_apply=%twice
}
"""
    assert traffic(module)["all-gather"].count == 2


def test_a_collective_that_goes_on_beside_a_loop_counts_once():
    chained = 'frontend_attributes={chain_id="3"}, dimensions={0}'
    module = MODULE.replace("replica_groups={{0,1},{2,3}}, dimensions={0}", chained)
    module = module.replace("replica_groups=[1,4]<=[4], dimensions={0}", chained)
    assert traffic(module)["all-gather"] == Traffic(1, 8 * 4 * 2 * 3 // 4)


def test_a_gathering_that_is_made_as_a_sum_is_told_from_a_sum():
    module = MODULE.replace("all-reduce(%a, %b)", "all-reduce(%set_dynamic-update-slice_fusion)")
    (reduced,) = [c for c, _ in collectives(module) if c.kind == "all-reduce"]
    assert reduced.fills
    assert not any(c.fills for c, _ in collectives(MODULE))
