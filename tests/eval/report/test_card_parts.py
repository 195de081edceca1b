"""Bars, tables and files of the card against its judgements."""

import csv
import dataclasses
import io
import math
import re
import subprocess
import sys

import pytest

from lengthwise.app import provenance
from lengthwise.eval.card.card import make_card
from lengthwise.eval.report.card.facts import card_facts
from lengthwise.eval.report.card.files import card_csv, card_markdown, draw_shared
from lengthwise.eval.report.card.number_tables import (
    fitted_table,
    score_table,
    truncation_table,
)
from lengthwise.eval.report.card.reach_bars import ReachAxis, axis_svg, bar_svg, reach_bars
from lengthwise.eval.report.card.sentences import sentences
from lengthwise.eval.report.run.run_page import RunInputs
from lengthwise.eval.statistics.curves import ScorerResult
from tests.eval.planted import eval_config
from tests.eval.report.synthetic_card import L_TRAIN, LENGTHS, evaluation

CONFIG = eval_config(bootstrap_samples=200)


@pytest.fixture(scope="module")
def card():
    return make_card([evaluation()], CONFIG)


@pytest.fixture(scope="module")
def losses_alone():
    made = evaluation()
    curves = tuple(c for c in made.scored.curves if c.unit == "nats/token")
    return make_card([dataclasses.replace(made, scored=ScorerResult(curves))], CONFIG)


def test_a_bar_ends_where_the_judgement_says(card):
    bars = {bar.label: bar for bar in reach_bars(card.first)}
    axis = ReachAxis(list(bars.values()), L_TRAIN)
    ntk = next(j for j in card.first.judgements if j.curve.method == "ntk")
    assert (ntk.useful.tokens, L_TRAIN, LENGTHS[0], LENGTHS[-1]) == (512, 128, 64, 1024)
    drawn = bar_svg(bars["NTK-aware"], axis)

    def ends(kind):
        found = re.search(rf'<rect class="{kind}" x="([\d.]+)%" width="([\d.]+)%"', drawn)
        return float(found[1]), float(found[1]) + float(found[2])

    # Three of four doublings from 64 to 1,024.
    start, stop = ends("useful")
    whole = re.search(r'<line class="tested" x1="([\d.]+)%" x2="([\d.]+)%"', drawn)
    assert (start, float(whole[1])) == (1, 1)
    assert (stop - start) / (float(whole[2]) - start) == pytest.approx(3 / 4, abs=1e-3)
    trained = re.search(r'<line class="trained" x1="([\d.]+)%"', drawn)
    assert (float(trained[1]) - start) / (float(whole[2]) - start) == pytest.approx(1 / 4, abs=1e-3)
    assert "NTK-aware: useful to 512, holds to" in drawn
    # A task that is not even solved at the shortest length has no bar of that kind.
    unsolved = next(bar for bar in bars.values() if bar.useful.tokens is None)
    assert 'class="useful"' not in bar_svg(unsolved, axis)


@pytest.mark.parametrize(("shortest", "l_train", "longest"), [(64, 256, 1024), (16, 100, 131_072)])
def test_ticks_are_few_hold_the_training_length_and_lie_inside(shortest, l_train, longest, card):
    bar = reach_bars(card.first)[0]
    holds = dataclasses.replace(bar.holds, longest=longest)
    axis = ReachAxis([dataclasses.replace(bar, shortest=shortest, holds=holds)], l_train)
    assert l_train in axis.ticks
    assert len(axis.ticks) <= 8
    assert shortest <= min(axis.ticks) < max(axis.ticks) <= longest
    steps = [math.log2(tick / l_train) for tick in axis.ticks]
    assert steps == pytest.approx([round(step) for step in steps], abs=0.05)
    assert axis_svg(axis).count("<text") == len(axis.ticks)


def test_columns_without_a_number_are_left_out(card, losses_alone):
    def heads(table):
        return [column.head for column in table.columns]

    assert {"Solved to", "Useful to", "Retention"} <= set(heads(score_table(card.first)))
    assert not {"Solved to", "Retention"} & set(heads(score_table(losses_alone.first)))
    assert "Area beyond" in heads(fitted_table(card.first))
    assert not {"Area beyond", "Solved to, fitted"} & set(heads(fitted_table(losses_alone.first)))


def test_against_truncation_each_method_has_the_gain_of_its_judgement(card):
    lengths, rows = truncation_table(card.first)
    assert lengths == [n for n in LENGTHS if n > L_TRAIN]
    told = dict(rows)
    plain = next(j for j in card.first.judgements if j.curve.method == "plain")
    for length, cell in zip(lengths, told["Plain"], strict=True):
        gain = plain.judged[plain.lengths.index(length)]
        assert float(cell.value.replace("\N{MINUS SIGN}", "-")) == pytest.approx(
            gain.value, abs=1e-3
        )
        assert cell.verdict == "worse"
    assert told["NTK-aware"][0].verdict == "better"


def test_the_csv_has_every_score(card):
    rows = list(csv.DictReader(io.StringIO(card_csv(card).decode())))
    judged = card.first.judgements
    assert len(rows) == sum(len(each.lengths) for each in judged)
    last = judged[-1]
    row = rows[-1]
    assert (row["scorer"], int(row["length"])) == (last.curve.scorer, last.lengths[-1])
    for name, value in (("score", last.scores[-1].value), ("judged_low", last.judged[-1].low)):
        assert float(row[name]) == pytest.approx(value, rel=1e-5)


def test_markdown_and_shared_picture_stand_text_from_outside(card):
    name, bars = "a|b <script>", reach_bars(card.first)
    text = card_markdown(name, sentences(card), bars, {"Corpus": "x | y\nz"}).decode()
    assert "# a\\|b &lt;script>" in text
    assert "| Corpus | x \\| y z |" in text
    assert "| NTK-aware | 512 |" in text
    for some in (bars, bars * 4, []):
        figure = draw_shared("a long name " * 20, sentences(card)[0], some, L_TRAIN)
        assert tuple(figure.get_size_inches() * 160) == (1200, 630)


def test_facts_of_a_run():
    metrics = [
        {"kind": "train", "step": step, "tokens": 1024 * step, "bucket": 64 if step % 2 else 256,
         "loss": 2.0, "grad_norm": 1.0, "seconds": 0.5}
        for step in range(1, 1801)
    ]  # fmt: skip
    facts = {
        "Corpus": {"source": "files of <me>"},
        "Model": {"parameters": 902_220, "positions": "rope"},
        "Machine": {"devices": "4 x TPU v5e"},
    }
    told = card_facts(RunInputs("run", {}, metrics, [], facts), {"Date": "today"})
    assert told == {
        "Parameters": "902 thousand",
        "Trained tokens": "1.84 million",
        "Positions": "rope",
        "Buckets": "64 256",
        "Corpus": "files of <me>",
        "Machine": "4 x TPU v5e",
        "Minutes of training": "15.0",
        "Date": "today",
    }


def test_the_command_and_the_code(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["main.py", "--workdir=a b"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    made = provenance.provenance()
    assert made["Command"] == "python main.py '--workdir=a b'"
    assert "lengthwise" in made["Code"] or "not installed" in made["Code"]
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for step in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *step], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert provenance.provenance()["Code"] == head.stdout[:10]
