"""Experiments from their definitions to a page."""

import dataclasses
import json

import numpy as np
import pytest

from lengthwise.app import modes, session
from lengthwise.common.errors import UserError
from lengthwise.configs.resolve import load
from lengthwise.configs.saved_config import read_config
from lengthwise.data.tasks.samples import TaskSamples
from lengthwise.experiments import trials
from lengthwise.experiments.definition import (
    BEYOND,
    FALL,
    IN_RANGE,
    MEASURES,
    Arm,
    Claim,
    Crossed,
    ExperimentDefinition,
)
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.page import DOCS, PAGE, STORED, page
from lengthwise.experiments.picture import over_seeds
from lengthwise.experiments.results import ExperimentResults, read, save
from lengthwise.experiments.run import main, run
from lengthwise.experiments.statistics.verdict import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_AT_THIS_SCALE,
    REPRODUCED,
)
from lengthwise.experiments.trial_results import SelectionScore, TrialResult
from lengthwise.experiments.trials import LOG, is_finished, run_trials, steps_to_score
from lengthwise.train.machine.peak import Peak
from lengthwise.train.metrics.writer import read_rows

_STEPS = 30
TINY = ExperimentDefinition(
    name="tiny",
    question="Do more samples help?",
    source="none",
    published="nothing",
    tuning="none",
    arms=(
        # Of the data alone, so that both have the same programs, compiled once.
        Arm("few", "few", {"data.task.samples": 40}, "less"),
        Arm("many", "many", {"data.task.samples": 2000}, "more"),
    ),
    claims=(Claim("many", "few", margin=0.1),),
    scales={
        "cpu": {
            "data.workers": 1,
            "data.task.name": "cycle_navigation",
            "data.task.lengths": (1, 4),
            "model.layers": 1,
            "model.embed_dim": 32,
            "model.mlp_dim": 64,
            "optimizer.warmup_steps": 2,
            "phase.steps": _STEPS,
            "phase.tokens_per_step": 256,
            "phase.layout.smallest_bucket": 8,
            "phase.layout.largest_bucket": 8,
            "train.eval_every": 0,
            "train.checkpoint_every": 15,
            # As many samples of as long rows, so that one program scores both.
            "eval.answers.lengths": (3, 5, 2),
            "eval.answers.selection_lengths": (3, 4, 1),
            "eval.answers.samples": 40,
            "eval.answers.decoded": 0,
            "eval.bootstrap_samples": 50,
        }
    },
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """TINY, cut short by Ctrl-C before its second trial, then run to its end."""
    directory = tmp_path_factory.mktemp("tiny")
    ran = []

    def interrupted(mode, config, workdir):
        if ran:
            raise KeyboardInterrupt
        ran.append(workdir)
        return original(mode, config, workdir)

    original = modes.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "device_peak", lambda *_: Peak(1e11, "not measured"))
        patch.setattr(modes, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(TINY, "cpu", 1, directory)
        assert not (directory / "results.json").exists()
        patch.setattr(modes, "run", original)
        assert run(TINY, "cpu", 1, directory) == 0
    return directory


def test_a_killed_experiment_goes_on_and_keeps_what_is_finished(finished, monkeypatch):
    for trial in TINY.trials("cpu", 1):
        workdir = finished / trial.name
        assert is_finished(trial, workdir)
        rows = read_rows(workdir / "metrics.jsonl")
        assert [r["step"] for r in rows if r["kind"] == "train"] == list(range(1, _STEPS + 1))
        assert (workdir / LOG).read_text().count("phase 1: ") == 1  # started once
    monkeypatch.setattr(modes, "run", None)  # nothing is run again
    assert run(TINY, "cpu", 1, finished) == 0


def test_results_are_those_of_the_runs(finished):
    experiment, results = read(finished / "results.json", {"tiny": TINY})
    assert experiment is TINY
    assert [(each.arm, each.seed) for each in results.runs] == [("few", 0), ("many", 0)]
    for each in results.runs:
        scores = json.loads((finished / each.arm / "seed0" / "eval" / "answers.json").read_text())
        assert each.accuracy(IN_RANGE) == pytest.approx(scores["mean_exact_in_range"])
        assert each.accuracy(BEYOND) == pytest.approx(scores["mean_exact_beyond"])
        # A moves' answer is its place and the end: two targets a sample, 32 rows of 8 tokens.
        assert each.targets == _STEPS * 32 * 2
        # Moves are of three symbols: of 3 there are 27 words, of 5 as many as are drawn.
        moves = [27, 243]
        assert all(k <= min(n, 40) for k, n in zip(each.problems, moves, strict=True))
        assert each.problems[0] > 15
        assert each.problems[1] > 30
        assert each.flops > 0
        assert each.seconds > 0
    (_, measurement, verdict), *_ = results.verdicts(TINY)
    of_both = [results.of(arm)[0].accuracy(IN_RANGE) for arm in ("many", "few")]
    assert measurement.gate_values == tuple(of_both)
    assert verdict.verdict == NOT_AT_THIS_SCALE  # so few steps teach neither arm
    table = (finished / "table.md").read_text()
    assert "many above few, beyond" in table
    assert "not at this scale" in table
    assert (finished / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_a_cell_of_other_settings_is_not_taken_for_this_one(finished):
    longer = dataclasses.replace(TINY, scales={"cpu": {**TINY.scales["cpu"], "phase.steps": 40}})
    wider = dataclasses.replace(TINY, scales={"cpu": {**TINY.scales["cpu"], "model.mlp_dim": 32}})
    for changed in (longer, wider):
        trial = changed.trials("cpu", 1)[0]
        assert not is_finished(trial, finished / trial.name)
    with pytest.raises(UserError, match=r"few/seed0: .* belongs to another config: model.mlp_dim"):
        run_trials(wider.trials("cpu", 1), finished)
    with pytest.raises(UserError, match="other settings or claims than tiny has now; rerun it"):
        read(finished / "results.json", {"tiny": longer})
    easier = dataclasses.replace(TINY, claims=(Claim("many", "few", margin=0.01),))
    with pytest.raises(UserError, match="other settings or claims than tiny has now"):
        read(finished / "results.json", {"tiny": easier})


def test_a_run_that_sigterm_ended_ends_the_experiment(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(trials.modes, "run", lambda *given: asked.append(given) or 143)
    assert run(TINY, "cpu", 2, tmp_path) == 143
    assert len(asked) == 1


def _end(step, reason="finished"):
    return {"kind": "end", "step": step, "reason": reason}


def _eval(step, score, best):
    return {"kind": "eval", "step": step, "stopping_score": score, "best_score": best}


@pytest.mark.parametrize(
    ("rows", "checkpoint", "steps"),
    [
        ([_end(20)], "last", {20}),
        ([_end(10)], "last", set()),  # of fewer steps than are asked for now
        ([_end(10, "early stopping")], "last", {10}),
        ([_end(20, "terminated")], "last", {20}),  # SIGTERM came at the very end
        ([_end(7, "terminated")], "last", set()),
        ([_end(7, "interrupted")], "last", set()),
        ([_eval(5, 0.2, 0.2), _eval(10, 0.1, 0.1), _eval(15, 0.3, 0.1), _end(20)], "best", {10}),
        (
            [_eval(5, 0.2, 0.2), _eval(10, 0.2, 0.2), _end(10, "early stopping")],
            "best",
            {5, 10},
        ),  # which of them is kept is the checkpoints' choice
        ([_eval(5, 0.2, 0.2)], "best", set()),  # still training
    ],
)
def test_a_run_ends_at_the_step_that_its_checkpoint_names(rows, checkpoint, steps, tmp_path):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert steps_to_score(tmp_path, checkpoint, 20) == steps


def test_seeds_move_samples_and_all_else(finished):
    first, second = (each for each in TINY.trials("cpu", 2) if each.arm == "few")
    assert (first.changes["seed"], first.changes["data.task.seed"]) == (0, 0)
    assert (second.changes["seed"], second.changes["data.task.seed"]) == (1, 1)
    assert read_config(finished / first.name)["seed"] == 0


def planted(experiment, accuracy, seeds=3, scale="cpu"):
    """Results of an experiment in which each arm has (in range, beyond) accuracies by seed."""
    runs = []
    for trial in experiment.trials(scale, seeds):
        inside, beyond = accuracy[trial.arm]
        right = (100, round(100 * inside), round(100 * beyond), round(100 * beyond))
        changes = json.loads(json.dumps(dict(trial.changes)))
        runs.append(
            TrialResult(
                trial.arm,
                trial.seed,
                changes,
                trained=(1, 2),
                lengths=(1, 2, 3, 4),
                right=right,
                samples=(100,) * 4,
                problems=(100,) * 4,
                targets=7,
                flops=1e9,
                seconds=60.0,
            )
        )
    return ExperimentResults(
        experiment.name, scale, seeds, "a machine", experiment.claims_at(scale), tuple(runs)
    )


@pytest.mark.parametrize(
    ("seeds", "worse", "where", "verdict"),
    [
        (3, (1.0, 0.5), BEYOND, REPRODUCED),
        (3, (0.9, 0.5), BEYOND, NOT_AT_THIS_SCALE),
        (1, (1.0, 0.5), BEYOND, INCONCLUSIVE),
        (3, (0.7, 0.5), IN_RANGE, REPRODUCED),  # what fails in range by the claim passes the gate
    ],
)
def test_the_page_says_what_stored_results_give(seeds, worse, where, verdict, tmp_path):
    experiment = dataclasses.replace(TINY, claims=(Claim("many", "few", 0.1, where),))
    results = planted(experiment, {"many": (1.0, 1.0), "few": worse}, seeds)
    folder = tmp_path / "stored"
    save(results, folder / "tiny-cpu.json")
    assert read(folder / "tiny-cpu.json", {"tiny": experiment})[1] == results
    text = page({"tiny": experiment, **EXPERIMENTS}, folder)
    assert f"| yes | [tiny](#tiny) | cpu | {verdict} | {seeds} | {2 * seeds} |  |" in text
    assert "|  | [copy_positions](#copy_positions) | h200 | not run |  |" in text
    assert f"many above few, {where}" in text


@pytest.mark.parametrize(
    ("many", "few", "verdict", "said"),
    [
        (0.01, 0.0, INCONCLUSIVE, "both are right in less than 5% there."),
        (0.99, 1.0, INCONCLUSIVE, "both are right in more than 95% there."),
        (0.4, 0.6, CONTRADICTED, ""),
        (1.0, 0.0, REPRODUCED, ""),
    ],
)
def test_arms_that_both_fail_or_both_do_not_contradict_nothing(many, few, verdict, said, tmp_path):
    results = planted(TINY, {"many": (1.0, many), "few": (1.0, few)})
    save(results, tmp_path / "tiny-cpu.json")
    earlier = dataclasses.replace(TINY, earlier={"cpu": "nothing was right"})
    text = page({"tiny": earlier}, tmp_path)
    settles = "no" if said else "yes"
    assert f"| {settles} | [tiny](#tiny) | cpu | {verdict} | 3 | 6 | second design |" in text
    assert said in text
    assert "Second design; the first: nothing was right." in text
    assert "Second design; " not in page({"tiny": TINY}, tmp_path)


def test_lines_have_students_interval_cut_to_shares():
    results = planted(TINY, {"many": (1.0, 1.0), "few": (1.0, 0.5)})
    assert [each.high - each.low for each in over_seeds(results.of("few"))] == [0, 0, 0, 0]
    moved = [
        dataclasses.replace(each, right=(100, 90, 40 + 10 * each.seed, 95 + 2 * each.seed))
        for each in results.of("few")
    ]
    third, fourth = over_seeds(moved)[2:]
    assert third.value == pytest.approx(0.5)
    assert third.high - third.value == pytest.approx(4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert fourth.high == 1.0


def test_the_published_page_is_what_the_stored_results_give():
    given = page(EXPERIMENTS, DOCS / STORED)
    assert (DOCS / PAGE).read_text("utf-8") == given, (
        "run: python -m lengthwise.experiments.run NAME --publish"
    )
    for stored in (DOCS / STORED).glob("*.json"):
        assert stored.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("experiment", "scale"),
    [(e, scale) for e in EXPERIMENTS.values() for scale in e.scales],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_definitions_can_be_run(experiment, scale):
    assert experiment.claims_at(scale)
    assert set(experiment.left_out.get(scale, ())) <= set(experiment.arm_names)
    for claim in experiment.claims:
        assert claim.margin > 0
        assert claim.where in MEASURES
        assert (claim.better == claim.worse) == (claim.where == FALL)
        assert experiment.gate_arms(claim)
    seeds = 1 if experiment.crossed is None else 2 * experiment.crossed.orders
    for trial in experiment.trials(scale, seeds)[: len(experiment.arms_at(scale))]:
        resolved = load(trial.config(), None)
        task = resolved.data.sources[0].task
        samples = TaskSamples(task)
        longest = samples.scored("report", task.lengths[1], np.arange(8)).tokens.shape[1] - 1
        assert longest <= resolved.phases[0].layout.largest_bucket
        low, high, step = resolved.eval.answers.lengths
        tested = range(low, high + 1, step)
        samples.task.check_lengths(low, high, "tested")
        assert any(n <= task.lengths[1] for n in tested)
        assert tested[-1] > task.lengths[1]


def test_what_is_left_out_at_a_scale_is_neither_run_nor_claimed_there(tmp_path):
    third = Arm("third", "a third arm", {"data.task.samples": 100}, "-")
    experiment = dataclasses.replace(
        TINY,
        arms=(*TINY.arms, third),
        claims=(*TINY.claims, Claim("third", "few", margin=0.1)),
        left_out={"cpu": ("third",)},
    )
    assert {trial.arm for trial in experiment.trials("cpu", 2)} == {"few", "many"}
    assert experiment.claims_at("cpu") == TINY.claims
    results = planted(experiment, {"many": (1.0, 1.0), "few": (1.0, 0.5)})
    save(results, tmp_path / "tiny-cpu.json")
    text = page({"tiny": experiment}, tmp_path)
    assert "Left out at this scale, with the claims about them: a third arm." in text
    assert "| reproduced |" in text  # of the claims that are judged here


def test_an_arm_may_need_other_settings_at_a_scale():
    arm = dataclasses.replace(TINY.arms[0], at_scale={"cpu": {"data.task.samples": 50}})
    trials = dataclasses.replace(TINY, arms=(arm, TINY.arms[1])).trials("cpu", 1)
    assert [trial.changes["data.task.samples"] for trial in trials] == [50, 2000]


def test_crossed_seeds_are_all_pairs_and_move_nothing_else(tmp_path):
    crossed = dataclasses.replace(TINY, crossed=Crossed(orders=3, success=0.9))
    trials = [trial for trial in crossed.trials("cpu", 6) if trial.arm == "few"]
    pairs = [(c.changes["seeds.initialization"], c.changes["seeds.order"]) for c in trials]
    assert pairs == [(i, j) for i in range(2) for j in range(3)]
    assert {(c.changes["seed"], c.changes["data.task.seed"]) for c in trials} == {(0, 0)}
    seeds = load(trials[-1].config(), None).resolved_seeds
    assert (seeds.initialization, seeds.order, seeds.dropout) == (1, 2, 0)
    for wrong in (3, 7):
        with pytest.raises(UserError, match="take 6 or a higher multiple of 3"):
            crossed.trials("cpu", wrong)
    results = planted(crossed, {"many": (1.0, 0.95), "few": (1.0, 0.5)}, seeds=6)
    save(results, tmp_path / "tiny-cpu.json")
    text = page({"tiny": crossed}, tmp_path)
    assert "2 initializations, each with the same 3 orders" in text
    assert "| many | 6 of 6 |" in text
    assert "| few | 0 of 6 |" in text


@pytest.mark.parametrize(
    ("problems", "variance"),
    [
        # Of one problem a length, each run is one trial: two thirds, a half; two lengths, 6 runs.
        (1, (2 / 9 + 1 / 4) / 2 / 6),
        # Of as many as samples, all runs are tested on the same draw of them.
        (100, (101 / 102**2 + 1 / 4) / 100 / 2),
    ],
)
def test_crossed_runs_that_agree_are_no_surer_than_their_problems(problems, variance):
    crossed = dataclasses.replace(TINY, crossed=Crossed(orders=3, success=0.9))
    results = planted(crossed, {"many": (1.0, 1.0), "few": (1.0, 0.5)}, seeds=6)
    runs = tuple(dataclasses.replace(run, problems=(problems,) * 4) for run in results.runs)
    ((_, measurement, _),) = dataclasses.replace(results, runs=runs).verdicts(crossed)
    assert measurement.effect.error == pytest.approx(variance**0.5)


def test_scores_along_training_are_shown_where_they_are_of_longer_inputs(tmp_path):
    results = planted(TINY, {"many": (1.0, 1.0), "few": (1.0, 0.5)})
    curve = (SelectionScore(10, 90, 0.5, 0.6, 0.2), SelectionScore(20, 180, 0.3, 0.7, 0.1))
    fell = (*curve, SelectionScore(30, 270, 0.2, 0.4, 0.3))
    for selection, shown in (((3, 4), True), ((2, 4), False)):
        runs = tuple(
            dataclasses.replace(run, curve=fell if run.arm == "few" else curve, selection=selection)
            for run in results.runs
        )
        save(dataclasses.replace(results, runs=runs), tmp_path / "tiny-cpu.json")
        text = page({"tiny": TINY}, tmp_path)
        assert ("Selection samples of lengths 3 to 4" in text) == shown
        assert ("| few | 20 | 0.700 | 0.3 | 30 | 0.400 | 0.2 | 3 of 3 |" in text) == shown
        assert ("| many | 20 | 0.700 | 0.3 | 20 | 0.700 | 0.3 | 0 of 3 |" in text) == shown


def test_unknown_names_are_refused_with_the_options():
    with pytest.raises(UserError, match=r"nosuch is no experiment; choose one of copy_positions"):
        main(["nosuch"])
    with pytest.raises(
        UserError, match=r"required: name; see python -m lengthwise.experiments.run --help"
    ):
        main([])
    with pytest.raises(UserError, match=r"--seeds=0 must be at least 1"):
        main(["majority_parity", "--seeds=0"])
    with pytest.raises(UserError, match=r"--scale=x: majority_parity has cpu, h200, pod; choose"):
        main(["majority_parity", "--scale=x"])


def test_a_file_that_holds_no_results_is_named(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{}")
    with pytest.raises(UserError, match=r"results.json holds no results of an experiment"):
        read(path, EXPERIMENTS)
