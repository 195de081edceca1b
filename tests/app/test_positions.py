"""Position schemes that can't be run end in one line before anything is trained."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["positions.scheme=abscus"], "model.positions.scheme='abscus' is unknown; choose one of"),
        (["layer_pattern=('rope','nope')"], "model.layer_pattern='nope' is unknown"),
        (["layer_pattern=('rope','learned')"], "'learned', which works at the input"),
        (["layer_pattern=('none',)"], "'rope' is not in model.layer_pattern=('none',)"),
        (
            ["layer_pattern=('rope','none')", "layers=3"],
            "model.layers=3 must be a multiple of the 2 layers of model.layer_pattern",
        ),
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
