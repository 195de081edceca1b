"""The card as data: what is kept, who may stand beside whom, differences in pairs."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.configs.saved_config import training_fingerprint
from lengthwise.eval.card.card import make_card, save_card
from lengthwise.eval.card.comparison import Difference, compare
from lengthwise.eval.card.contestants import contestants, load_others
from lengthwise.eval.card.lengths import Crossing, CrossingPoint
from lengthwise.eval.losses.curve_file import CURVES, load_evaluation, save_evaluation
from lengthwise.eval.report.card.heat_maps import draw_heat
from lengthwise.eval.report.card.sentences import sentences
from lengthwise.eval.report.card.wording import (
    crossing_text,
    drops_text,
    headline_rows,
    reach_text,
    score_cell,
)
from lengthwise.eval.report.style import LIGHT
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.curves import population
from lengthwise.eval.statistics.reach import Reach
from tests.eval.planted import eval_config
from tests.eval.report.synthetic_card import LENGTHS, LOSSES, evaluation, task_curve

CONFIG = eval_config(bootstrap_samples=200)


def judged(made, **changes):
    """(scorer, method) -> judgement of the first entry."""
    entry = make_card([made], dataclasses.replace(CONFIG, **changes)).first
    return {(each.curve.scorer, each.curve.method): each for each in entry.judgements}


def with_curves(made, change):
    curves = tuple(change(curve) for curve in made.scored.curves)
    return dataclasses.replace(made, scored=dataclasses.replace(made.scored, curves=curves))


def test_a_curve_whose_parts_do_not_fit_is_refused():
    good = task_curve("passkey", (0.5,) * 5)
    for changes, message in (
        ({"lengths": LENGTHS[:4]}, "4 lengths"),
        ({"lengths": LENGTHS[::-1]}, "not ascending"),
        ({"clusters_N": np.arange(3)}, "clusters of 40 units"),
        ({"counts_NK": np.zeros((40, 5))}, "count not positive"),
        ({"best": None}, "go together"),
        ({"chance_K": np.zeros(3)}, "3 chances|chances of 5"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(good, **changes)


def test_populations_differ_by_any_part():
    parts = ["passkey", 0, np.arange(3)]
    others = [["passkey", 1, np.arange(3)], ["passkey", 0, np.arange(4)], ["passkey", 0, [0, 1, 2]]]
    assert population(*parts) == population(*parts)
    assert len({population(*p) for p in (parts, *others)}) == 4


def test_curves_come_back_from_their_file_as_they_were(tmp_path):
    made = evaluation()
    save_evaluation(made, tmp_path / CURVES)
    found = load_evaluation(tmp_path)
    assert dataclasses.replace(found, scored=made.scored) == made
    pairs = [
        *zip(found.scored.curves, made.scored.curves, strict=True),
        *zip(found.scored.grids, made.scored.grids, strict=True),
    ]
    for mine, theirs in pairs:
        for field in dataclasses.fields(theirs):
            np.testing.assert_array_equal(getattr(mine, field.name), getattr(theirs, field.name))
            assert type(getattr(mine, field.name)) is type(getattr(theirs, field.name))


def test_a_file_that_cannot_be_read_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(UserError, match="is not there; run --mode=eval --workdir="):
        load_evaluation(tmp_path)
    path = tmp_path / CURVES
    save_evaluation(evaluation(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="can't be read"):
        load_evaluation(tmp_path)


def test_the_card_is_strict_json_with_lengths_ratios_and_intervals(tmp_path):
    card = make_card([evaluation(), evaluation("other", training="b", worse=0.2)], CONFIG)
    path = tmp_path / "card.json"
    save_card(card, path)
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    mine = found["entries"][0]
    assert (mine["claim"], mine["l_train"], mine["length_p95"]) == ("this checkpoint", 128, 120)
    by_name = {(j["scorer"], j["method"]): j for j in mine["judgements"]}
    passkey, ntk = by_name["passkey", "plain"], by_name["same_target_nll", "ntk"]
    assert passkey["useful"] == {
        "tokens": 128,
        "censored": "",
        "shortest_tested": 64,
        "longest_tested": 1024,
        "over_l_train": 1.0,
        "over_length_p95": pytest.approx(128 / 120),
    }
    assert passkey["chance"] == [0.25] * 5
    assert set(passkey["controls"]) == {"no_context", "truncated", "distance_0", "easy_filler"}
    assert ntk["holds"]["censored"] == "above"
    assert (ntk["useful"]["tokens"], ntk["useful"]["over_l_train"]) == (512, 4.0)
    for score in passkey["scores"]:
        assert score["low"] <= score["value"] <= score["high"]
    assert {c["second"] for c in found["comparisons"]} == {"other"}
    assert mine["checkpoints"][0]["seconds"]["scoring"] == 60.0


def test_scores_stand_on_one_scale_and_say_why():
    found = judged(evaluation())
    ntk, plain = found["same_target_nll", "ntk"], found["same_target_nll", "plain"]
    for k, length in enumerate(LENGTHS):
        at_l_train = plain.scores[1].value
        assert ntk.judged[k].value == pytest.approx(at_l_train - ntk.scores[k].value), length
    task = found["several_keys", "plain"]
    assert task.judged[0].value == pytest.approx((task.scores[0].value - 0.25) / 0.75)
    said = found["several_keys", "plain"].findings
    inside = [[n for n in LENGTHS if f.start <= n <= f.end] for f in said]
    assert [n for stretch in inside for n in stretch] == list(LENGTHS)  # each length once, in order
    assert all(a.words != b.words for a, b in itertools.pairwise(said))
    assert "above chance" in said[0].words
    assert "above chance" not in said[-1].words
    assert all("above chance" not in f.words for f in found["common_word", "plain"].findings)
    assert found["passkey", "plain"].seconds == pytest.approx(5 * 1.5)
    made = evaluation()
    window = tuple(
        dataclasses.replace(c, method="lambda", seconds=9.0)
        for c in made.scored.curves
        if c.scorer == "passkey"
    )
    scored = dataclasses.replace(made.scored, curves=(*made.scored.curves, *window))
    both = judged(dataclasses.replace(made, scored=scored))
    assert both["passkey", "plain"].seconds == pytest.approx(5 * 1.5)
    assert both["passkey", "lambda"].seconds == pytest.approx(5 * 9.0)


def test_a_loss_that_was_not_scored_at_l_train_has_no_judgement():
    made = evaluation()
    far = with_curves(made, lambda c: dataclasses.replace(c, lengths=tuple(n * 3 for n in LENGTHS)))
    assert {each.curve.scorer for each in make_card([far], CONFIG).first.judgements} == {
        "passkey",
        "several_keys",
        "common_word",
    }
    zero = with_curves(made, lambda c: dataclasses.replace(c, baseline=1.0))
    assert judged(zero)["same_target_nll", "plain"].judged[1].value == pytest.approx(
        1.0 - judged(made)["same_target_nll", "plain"].scores[1].value
    )


# ---- several checkpoints


def test_seeds_of_one_training_go_together_and_the_claim_says_so():
    group = contestants(
        [evaluation(), evaluation("w", training="b"), evaluation("seed1", seed=1, training="a")]
    )
    assert [c.name for c in group] == ["quickstart and another seed", "w"]
    assert [c.claim for c in group] == ["this training (2 seeds)", "this checkpoint"]


def test_the_interval_of_several_seeds_is_wider_where_seeds_differ():
    alone = judged(evaluation())["same_target_nll", "plain"].scores[-1]
    apart = [
        with_curves(
            evaluation(f"seed{n}", seed=n),
            lambda c, n=n: (
                dataclasses.replace(c, sums_NK=c.sums_NK + 0.3 * n * c.counts_NK)
                if c.unit == "nats/token"
                else c
            ),
        )
        for n in range(3)
    ]
    entry = make_card(apart, CONFIG).first
    task = next(e for e in entry.judgements if e.curve.scorer == "several_keys")
    ends = [float(e) for e in score_cell(task, Estimate(0.9, -0.1, 1.2)).interval[1:-1].split(",")]
    assert ends == [0, 100]  # of a share, whatever Student's tails say
    together = next(e for e in entry.judgements if e.curve.scorer == "same_target_nll").scores[-1]
    assert together.value == pytest.approx(alone.value + 0.3, abs=0.02)
    assert together.high - together.low > 3 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            dataclasses.replace(
                evaluation("b", training="b"),
                identity=dataclasses.replace(evaluation().identity, corpus_fingerprint="x"),
            ),
            "'b' and 'quickstart' are of different corpora",
        ),
        (
            with_curves(
                evaluation("b", training="b"), lambda c: dataclasses.replace(c, population="x")
            ),
            "other targets, prompts or lengths",
        ),
        (
            with_curves(
                evaluation("b", training="b"),
                lambda c: dataclasses.replace(c, lengths=tuple(2 * n for n in LENGTHS)),
            ),
            "other targets, prompts or lengths",
        ),
        (
            with_curves(
                evaluation("b", training="b"), lambda c: dataclasses.replace(c, scorer="z")
            ),
            "no score in common",
        ),
        (evaluation("b"), "the same training with the same seed"),
    ],
)
def test_what_is_not_comparable_is_refused_by_name(other, message):
    with pytest.raises(UserError, match=message):
        make_card([evaluation(), other], CONFIG)


def test_differences_are_in_pairs():
    """Documents differ by 0.3 nats/token, models by 0.1: only pairs can tell."""
    found, left_out = compare(
        contestants([evaluation(), evaluation("worse", training="b", worse=0.1)]), CONFIG
    )
    assert left_out == []
    (loss,) = [c for c in found if (c.scorer, c.method) == ("same_target_nll", "ntk")]
    beyond = np.array(LENGTHS) > 128
    for k, estimate in enumerate(loss.better):
        assert estimate.value == pytest.approx(-0.1 if beyond[k] else 0, abs=0.01)
        assert estimate.high - estimate.low < 0.03
    assert loss.outcomes == tuple(Difference.WORSE if b else Difference.NONE for b in beyond)


def test_ways_of_running_the_same_weights_are_compared_in_pairs():
    """Also over seeds: each seed with itself, so that what seeds differ by falls out."""
    one = evaluation()
    apart = [
        with_curves(
            evaluation(f"seed{n}", seed=n),
            lambda c, n=n: (
                dataclasses.replace(c, sums_NK=c.sums_NK + 0.5 * n * c.counts_NK)
                if c.unit == "nats/token"
                else c
            ),
        )
        for n in range(3)
    ]
    for evaluations in ([one], apart):
        found = make_card(evaluations, CONFIG).methods
        assert {(c.first, c.second, c.scorer) for c in found} == {
            ("plain", method, "same_target_nll") for method in ("ntk", "lambda")
        }
        ntk = next(c for c in found if c.second == "ntk")
        expected = np.array(LOSSES["plain"]) - LOSSES["ntk"]
        for k, estimate in enumerate(ntk.better):
            assert estimate.value == pytest.approx(expected[k], abs=0.02)
            assert estimate.high - estimate.low < 0.06
        assert ntk.outcomes == (Difference.NONE,) * 2 + (Difference.BETTER,) * 3


def test_who_stands_beside_is_checked_before_anything_is_scored(tmp_path, monkeypatch):
    for name, training, seed in (("mine", "a", 0), ("seed", "a", 1), ("other", "b", 0)):
        made = evaluation(name, training=training, seed=seed)
        save_evaluation(made, tmp_path / name / CURVES)
    monkeypatch.chdir(tmp_path)
    corpus = made.identity.corpus_fingerprint

    def beside(*names, seed=0, corpus=corpus, **tokens):
        mine = {**made.tokens, **tokens}
        return load_others(names, tmp_path / "mine", "a", seed, corpus, mine)

    assert [each.name for each in beside("seed", "other")] == ["seed", "other"]
    # Whether it was scored before or not, and by whatever path.
    for same in ("mine", "./other/../mine", str(tmp_path / "mine")):
        with pytest.raises(UserError, match="the work directory itself"):
            beside("other", same)
    with pytest.raises(UserError, match="'seed' and 'mine' are the same training with the same"):
        beside("seed", seed=1)
    with pytest.raises(UserError, match="'other' and 'other' are the same training"):
        beside("other", "other")
    with pytest.raises(UserError, match="of different corpora"):
        beside("other", corpus="another")
    with pytest.raises(UserError, match=r"of different tokens \(end_of_text: 256 and 255\)"):
        beside("other", end_of_text=255)
    with pytest.raises(UserError, match=r"\(tokenizer: 'bytes' and 'tokenizer.json 0f'\)"):
        beside("other", tokenizer="tokenizer.json 0f")
    with pytest.raises(UserError, match=r"nowhere.* is not there; run --mode=eval"):
        beside("nowhere")


def test_a_comparison_the_other_way_round_has_the_other_sign():
    pair = [evaluation(), evaluation("worse", training="b", worse=0.1)]
    there, back = (compare(contestants(p), CONFIG)[0] for p in (pair, pair[::-1]))
    for one, other in zip(there, back, strict=True):
        for a, b in zip(one.better, other.better, strict=True):
            assert a.value == pytest.approx(-b.value, abs=1e-9)
            # The two units more of a share change places: equal but for the resamples.
            assert (a.low, a.high) == pytest.approx((-b.high, -b.low), abs=0.05)


def test_trainings_that_agree_on_all_prompts_may_still_differ_on_others():
    """Agresti and Min (2005): a pair more each way, whose difference is -1 or 1."""
    pair = [evaluation(), evaluation("copy", training="b")]
    units = {}
    for same in compare(contestants(pair), CONFIG)[0]:
        for e in same.better:
            assert e.value == 0
            units.setdefault(same.unit == "accuracy", []).append(e.high - e.low)
    assert set(units[False]) == {0.0}  # losses have no best
    assert min(units[True]) > 0


def test_a_training_is_the_same_but_for_its_seed():
    config = {"seed": 0, "phases": [{"steps": 3}], "train": {"log_every": 1, "init_from": ""}}
    config |= {"model": {"layers": 2}, "eval": {"prompts": 3}, "stopping": {"patience": 0}}
    same = training_fingerprint(config)
    for section, field, value, equal in (
        ("", "seed", 1, True),
        ("eval", "prompts", 9, True),
        ("train", "log_every", 5, True),
        ("train", "init_from", "elsewhere", False),
        ("stopping", "patience", 2, False),
        ("model", "layers", 3, False),
    ):
        changed = {**config, field: value} if not section else None
        changed = changed or {**config, section: {**config[section], field: value}}
        assert (training_fingerprint(changed) == same) is equal, (section, field)


# ---- words


def test_lengths_in_words():
    assert reach_text(Reach(None, 64, 1024)) == "below 64"
    assert reach_text(Reach(512, 64, 1024)) == "512"
    assert reach_text(Reach(1024, 64, 1024)) == "at least 1,024"
    made = judged(evaluation())
    below, above = CrossingPoint(None, "below"), CrossingPoint(None, "above")
    assert crossing_text(Crossing(below, below, below), LENGTHS) == "<64"
    assert crossing_text(Crossing(above, below, above), LENGTHS) == ">1,024 [<64, >1,024]"
    assert crossing_text(made["same_target_nll", "lambda"].holds_fit, LENGTHS) == ">1,024"
    assert drops_text(made["passkey", "plain"].drops) == "128 to 512"
    assert drops_text(()) == ""


def test_context_within_the_training_length_that_does_harm_is_said():
    def harmful(curve):
        if (curve.scorer, curve.method) != ("same_target_nll", "plain"):
            return curve
        sums_NK = curve.sums_NK.copy()
        sums_NK[:, 0] = (curve.sums_NK[:, 1] / 32 - 0.1) * 32  # LENGTHS[0] < L_train = LENGTHS[1]
        return dataclasses.replace(curve, sums_NK=sums_NK)

    said = " ".join(sentences(make_card([with_curves(evaluation(), harmful)], CONFIG)))
    assert "With 64 tokens of context its loss on the same targets is lower than with its" in said
    assert "of context its loss" not in " ".join(sentences(make_card([evaluation()], CONFIG)))


def test_a_heat_map_of_one_of_two_runs_names_it():
    """The run that the card is of was not asked tasks; those of the other are not its own."""

    def untasked(made):
        curves = tuple(curve for curve in made.scored.curves if curve.chance_K is None)
        return dataclasses.replace(made, scored=dataclasses.replace(made.scored, curves=curves))

    card = make_card([untasked(evaluation()), evaluation("other", training="b")], CONFIG)
    figure = draw_heat(card, LIGHT, narrow=False)
    titles = " ".join(axes.get_title(loc="left") + axes.get_title() for axes in figure.axes)
    assert "other" in titles


def test_the_outcome_in_sentences():
    card = make_card([evaluation(), evaluation("worse", training="b", worse=0.2)], CONFIG)
    said = " ".join(sentences(card))
    for expected in (
        "Trained on up to 128 tokens and run as it is, this checkpoint makes use of context, and "
        "keeps its loss, up to its training length alone.",
        "Of 3 ways to run it, that with NTK-aware RoPE scaling makes use of most context, up to "
        "512 tokens (4x): --config.generate.method=ntk.",
        "Run as it is with 1,024 tokens of context (8x), it loses 1.200",
        "Of 3 tasks it is above chance at 2 within its training length and at none at the longest",
        "it solves 1 (85.6 %",
        "Beside quickstart, worse is, at the longest length of each of 7 scores: 6 worse",
    ):
        assert expected in said, said
    rows = headline_rows(card.first)
    assert list(rows) == ["Language", "Retrieval", "Synthesis"]
    (passkey, keys), (common,) = rows["Retrieval"], rows["Synthesis"]
    assert (passkey.holds, passkey.useful, passkey.ratios) == ("128", "128", "1x / 1.07x")
    assert keys.useful == "below 64"
    assert (common.holds, common.retention) == ("below 64", "")
    nothing = dataclasses.replace(
        evaluation(), scored=dataclasses.replace(evaluation().scored, curves=())
    )
    assert "could be judged" in sentences(make_card([nothing], CONFIG))[0]
