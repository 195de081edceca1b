"""Collectives counted as often as they are run."""

import pytest

from plan.collectives import Traffic, traffic

MODULE = """HloModule step

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%inner (p: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %g = bf16[8,4]{1,0} all-gather(%x), dimensions={0}
}

%inner_condition (p: (s32[], bf16[8,4])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

%outer (p: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %w = (s32[], bf16[8,4]) while(%t), condition=%inner_condition, body=%inner
  %r = (f32[16]{0}, f32[4]{0}) all-reduce(%a, %b), to_apply=%add
}

%outer_condition (p: (s32[], bf16[8,4])) -> pred[] {
  %n = s32[] constant(5)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p0: f32[16]) -> f32[16] {
  %w = (s32[], bf16[8,4]) while(%t), condition=%outer_condition, body=%outer
  %s = (bf16[2,4], bf16[8,4]) all-gather-start(%x), dimensions={0}
  %d = bf16[8,4] all-gather-done(%s)
  %c = f32[16]{0} reduce-scatter(%y), to_apply=%add
}
"""


def test_loops_multiply_what_is_in_them():
    assert traffic(MODULE) == {
        "all-gather": Traffic(3 * 5 + 1, (3 * 5 + 1) * 8 * 4 * 2),
        "all-reduce": Traffic(5, 5 * (16 + 4) * 4),
        "reduce-scatter": Traffic(1, 16 * 4),
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
  ROOT %g.{n} = bf16[8,4]{{1,0}} all-gather(%p), channel_id=7, dimensions={{0}}
}}

"""
    calls = "".join(f"  %f.{n} = bf16[8,4] fusion(%x), calls=%fused.{n}\n" for n in range(3))
    other = "  %o = bf16[8,4] all-gather(%x), channel_id=8\n"
    module = (
        "HloModule step\n\n"
        + "".join(fused.format(n=n) for n in range(3))
        + f"ENTRY %main (p0: f32[16]) -> f32[16] {{\n{calls}{other}}}\n"
    )
    assert traffic(module) == {"all-gather": Traffic(2, 2 * 8 * 4 * 2)}


def test_a_collective_that_goes_on_beside_a_loop_counts_once():
    module = MODULE.replace("dimensions={0}", "channel_id=3, dimensions={0}")
    assert traffic(module)["all-gather"] == Traffic(1, 8 * 4 * 2)
