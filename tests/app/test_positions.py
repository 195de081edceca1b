"""Position schemes that can't be run end in one line before anything is trained."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["positions.scheme=abscus"], "model.positions.scheme='abscus' is unknown; choose one of"),
        (["layer_pattern=('rope','nope')"], "model.layer_pattern='nope' is unknown"),
        (["layer_pattern=('rope','learned')"], "'learned', which works at the input"),
        (["layer_pattern=('none',)"], "'rope' is not in model.layer_pattern=('none',)"),
        (["layer_pattern=('rope/windows',)"], "model.layer_pattern='windows' is unknown"),
        (["layer_pattern=('rope/window:512',)"], "'512' is no FIELD=VALUE; write it as"),
        (["layer_pattern=('rope:thetas=1e4',)"], "rope.thetas is no field; choose one of theta"),
        (["layer_pattern=('rope/window:size=0',)"], "window.size is 0, but must lie in [1, inf)"),
        (
            ["positions.scheme=learned", "positions.learned.positions=100"],
            "'learned' has 100 positions, but sequences of 128 tokens need 128; raise "
            "model.positions.learned.positions, or",
        ),
        (["positions.randomized=100"], "randomized=100 is a range too small for sequences of 128"),
        (
            ["positions.scheme=alibi", "../phase.rope_scaling.kind=linear"],
            "'linear' has no meaning for the position scheme 'alibi'",
        ),
        (
            ["positions.scheme=seqpe", "positions.seqpe.regularized=1000000000"],
            "model.positions.seqpe.regularized=1000000000 must lie between",
        ),
    ],
)
def test_a_scheme_that_cannot_be_run(refused, start, tmp_path, arguments, message):
    fields = [f"--config.model.{a}".replace("model.../", "") for a in arguments]
    assert message in refused(*start, *fields)
    assert not (tmp_path / "run" / "config.json").exists()
