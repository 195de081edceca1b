"""The row of a real run: what its own files say, and targets that all arms share."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lengthwise.app import session
from lengthwise.app.store import open_store
from lengthwise.configs.resolve import load
from lengthwise.data.store.splits import Split
from lengthwise.eval.losses.curve_file import load_evaluation
from lengthwise.eval.losses.targets import choose_targets
from lengthwise.eval.report import page
from lengthwise.experiments.text import run as runs
from lengthwise.experiments.text.design import TextArm, TextClaim
from lengthwise.experiments.text.measures import FORMATION, SHORT, behind, loss_at, nll
from lengthwise.experiments.text.row import read_rows
from lengthwise.train.machine.peak import Peak
from lengthwise.train.metrics import writer
from tests import tiny
from tests.experiments.text.planted import GRID

L, STEPS = 32, 12
COMMON = {
    "data.source": "text",
    "phase.steps": STEPS,
    "phase.layout.name": "concat_and_chunk",
    "phase.layout.document_mask": False,
    "phase.layout.smallest_bucket": L,
    "phase.layout.largest_bucket": L,
    "phase.layout.mixture": "natural",
    "phase.curriculum.name": "natural",
    "phase.curriculum.cycles": 1,
    "model.dropout": 0.0,
    "train.checkpoint_every": STEPS,
    "train.eval_every": 4,
    "eval.ratios": (1.0,),
    "eval.lengths": (8, 32, 64),
    "eval.blocks": 1,
    "eval.targets_per_block": 4,
    "eval.targets_per_row": 4,
    "eval.methods": (),
    "eval.scorers": ("short_documents",),
    "eval.short_documents.longest": 256,
    "eval.during": ("target_nll",),
    "eval.target_nll.lengths": (8, 32),
}


def undrawn(picture):
    """Pictures take longer than the run."""
    return page.Figure(picture.name, "", "", "", "", "", ""), b""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(grid, the run, its row, its folder) of a run that was really trained."""
    folder = tmp_path_factory.mktemp("grid")
    corpus = str(tiny.write_corpus(folder / "corpus"))
    grid = replace(
        GRID,
        base=tiny.get_config,
        common={**COMMON, "data.path": corpus},
        length=L,
        baseline="chunks",
        arms=(TextArm("chunks", "chunks", {}, "one"),),
        questions=(replace(GRID.questions[0], claims=(TextClaim("chunks", "chunks", nll(1), 1),)),),
    )
    run = runs.Run(grid, grid.arms[0], 3, 2e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "device_peak", lambda *_: Peak(1e11, "not measured"))
        patch.setattr(page, "render_picture", undrawn)
        status, left = runs.train_missing([run], folder / "rows.jsonl", folder, None)
    assert (status, left) == (0, [])
    return grid, run, read_rows(folder / "rows.jsonl")[run.settings], run.folder(folder)


def test_the_row_has_what_the_run_wrote(finished):
    _, run, row, workdir = finished
    assert (row.arm, row.seed, row.rate, row.purpose, row.length) == ("chunks", 3, 2e-3, "main", L)
    config = json.loads((workdir / "config.json").read_text())
    assert (config["seed"], config["optimizer"]["learning_rate"]) == (3, 2e-3)
    results = json.loads((workdir / "eval" / "results.json").read_text())["rows"]
    for context in (8, 32, 64):
        (stored,) = (
            each
            for each in results
            if each["metric"] == "same_target_nll"
            and (each["context"], each["method"], each["role"]) == (context, "plain", "result")
        )
        assert nll(context / L).value(row) == pytest.approx(stored["value"])
    assert row.scored.gain[0] == pytest.approx(row.at_context(8) - row.at_context(32))
    assert row.scored.gain[1] < row.scored.gain[0] < row.scored.gain[2]
    assert row.scored.useful in (0, 8, 32, 64)
    assert row.scored.safe in (0, 32, 64)
    curves = load_evaluation(workdir).scored.curves
    (short,) = (each for each in curves if each.scorer == "short_documents")
    assert SHORT.value(row) == pytest.approx(short.sums_NK.sum() / short.counts_NK.sum())
    assert row.hours > 0
    # The same command trains nothing.
    assert runs.missing([run], {row.settings: row}) == []


def test_behind_boundaries_bins_are_weighed_by_their_targets(finished):
    _, _, row, workdir = finished
    rows = json.loads((workdir / "eval" / "results.json").read_text())["rows"]
    for mask in ("masked", "naive"):
        of_mask = [r for r in rows if r["metric"] == "boundary_nll" and r["method"] == mask]
        whole = [r for r in of_mask if (r["context_from"], r["context"]) == (1, L)]
        near = [r for r in of_mask if r not in whole]  # a row has no target beyond 64 tokens
        nats = sum(r["value"] * r["n_targets"] for r in near)
        assert len(near) > 1
        assert behind(mask).value(row) == pytest.approx(nats / sum(r["n_targets"] for r in near))
        assert [row.scored.behind[mask]["all"]] == [r["value"] for r in whole]


def test_the_curve_is_that_of_the_metrics(finished):
    _, _, row, workdir = finished
    rows = writer.read_rows(workdir / "metrics.jsonl")
    train = [each for each in rows if each["kind"] == "train"]
    evals = [each for each in rows if each["kind"] == "eval"]
    assert [point.step for point in row.curve] == [4, 8, 12]
    assert [point.tokens for point in row.curve] == [each["tokens"] for each in train][3::4]
    assert row.budget("tokens") == STEPS * 512
    assert row.budget("seconds") == pytest.approx(sum(each["seconds"] for each in train))
    for point, scored, first in zip(row.curve, evals, (0, 4, 8), strict=True):
        assert set(point.nll) == {"8", "32", "64"}
        assert point.nll["64"] == scored["score"]
        losses = [each["loss"] for each in train[first : first + 4]]
        assert point.loss == pytest.approx(np.mean(losses))
    assert loss_at(row, "tokens", 1e9) == row.curve[-1].nll["32"]
    # Twelve steps teach no use of context.
    assert not FORMATION.event(row, 0.0).happened


def test_an_arm_of_another_length_is_scored_on_the_same_targets(finished):
    """Of a store of the same text: documents and blocks go by the longest context alone."""
    grid, _, row, workdir = finished
    shorter = replace(
        grid.arms[0],
        changes={"phase.layout.largest_bucket": 8, "phase.layout.smallest_bucket": 8},
    )
    config = grid.config(shorter)
    config.data.store = str(workdir.parent / "store")
    experiment = load(config, None)
    targets = choose_targets(open_store(experiment, workdir), Split.REPORT, 64, experiment.eval)
    assert targets.fingerprint == row.scored.targets
