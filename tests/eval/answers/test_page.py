"""The report of a run on a task: by itself, escaped, and as a browser shows it."""

import re

import pytest

from lengthwise.eval.answers.runs import trainings
from lengthwise.eval.answers.trainings import compare_trainings, score_training
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.report.answers.page import (
    AnswersInputs,
    Example,
    render,
    write_answers,
)
from lengthwise.eval.report.page import Figure
from lengthwise.eval.report.training_log import TrainingLog
from tests.eval.answers.test_trainings import CONFIG, TRAINED, run
from tests.eval.report.browser import look_at
from tests.eval.report.synthetic_report import layout, metrics
from tests.eval.report.test_report import Page

PICTURES = ["answers", "training", "curriculum", "selection"]


def rows():
    found = [row for row in metrics(steps=200) if row["kind"] == "train"]
    for step, right in ((100, 0.4), (200, 0.9)):
        scores = {"score": 1 - right, "stopping_score": 1 - right, "exact_match": right / 2}
        found.append({"kind": "eval", "step": step, "seconds": 1.0, **scores})
    return found


def answers_inputs(*runs, chance=(0.5, 0.01), **changes):
    group = trainings(runs or [run("this-run", "t", 0, (1.0, 0.5))])
    inputs = {
        "title": "copying with a rather long name",
        "config": {"seed": 0, "model": {"layers": 4}},
        "metrics": rows(),
        "layouts": [layout()],
        "facts": {"Corpus": {"source": "task copy"}, "Machine": {"device": "cpu x 1"}},
        "task": "copy",
        "counts": "symbols of the prompt",
        "trained": TRAINED,
        "examples": [Example(2, "t9 t65", "t9 t65")],
        "scored": [score_training(each, TRAINED, chance, CONFIG) for each in group],
        "comparisons": compare_trainings(group, CONFIG),
        "decoded": [{"length": 8, "samples": 8, "agree": 8}],
        "identity": RunIdentity("3f1c0e9ab2d84c55", 200, 32, "none"),
        "confidence": 0.95,
        "seeds": "seed 0, samples of seed 0",
    }
    return AnswersInputs(**{**inputs, **changes})


def page_of(inputs):
    figures = dict.fromkeys(PICTURES, Figure(*[""] * 7))
    return Page(render(inputs, TrainingLog(inputs.metrics), figures))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three seeds beside another training: every section is there."""
    runs = [run(f"seed{i}", "a", i, (1.0, 0.3 + 0.2 * i), stream=i) for i in range(3)]
    runs.append(run("another-with-a-rather-long-name", "b", 0, (1.0, 0.1)))
    return write_answers(tmp_path_factory.mktemp("run"), answers_inputs(*runs))


def test_the_page_stands_alone_with_its_pictures_beside_it(written):
    text = written.read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.addresses) == 4 * len(PICTURES)
    assert all(each.startswith("data:image/svg+xml;base64,") for each in page.addresses)
    without = re.sub(r"data:image[^\"]+", "", text)
    assert not re.search(r"https?://|url\(|@import", without)
    assert not {"script", "link", "iframe"} & set(page.tags)
    found = {path.stem: path.read_bytes() for path in written.parent.glob("*.png")}
    assert sorted(found) == sorted(PICTURES)
    assert all(content.startswith(b"\x89PNG") for content in found.values())


def test_sections_come_in_order_with_the_numbers(written):
    page = Page(written.read_text())
    assert page.headings == [
        "Right answers by length",
        "Side by side",
        "What is asked",
        "Training",
        "Layout",
        "Config",
        "Corpus",
        "Machine",
        "Speed",
    ]
    for expected in (
        "Exact match falls under 0.85 at length 8: ",
        "trained on lengths 1 to 4",
        "seed0 and 2 more seeds",
        "this training (3 seeds)",
        "another-with-a-rather-long-name beside seed0 and 2 more seeds",
        "Greedy decoding of 8 answers of length 8: 8 as scored",
        "Constant guess",
        "copy, length 2",
        "3f1c0e9ab2d84c55",
    ):
        assert expected in page.text, expected
    assert "These scores speak of one checkpoint" not in page.text


def test_a_run_alone_says_what_it_speaks_of_and_leaves_out_what_it_has_not():
    page = page_of(answers_inputs(chance=(0.0, 0.0), trained=(2, 2)))
    assert "These scores speak of one checkpoint" in page.text
    assert "trained on lengths 2." in page.text
    assert "Side by side" not in page.headings
    assert "Constant guess" not in page.text
    holding = page_of(answers_inputs(run("a", "t", 0, (1.0, 0.9))))
    assert "Exact match is 0.85 or more at all tested lengths, 2 to 8" in holding.text


def test_text_from_outside_is_escaped():
    evil = "<script>alert(1)</script>"
    inputs = answers_inputs(
        run(evil, "a", 0, (1.0, 0.5)),
        run(f"{evil}2", "b", 0, (1.0, 0.1)),
        title=evil,
        task=evil,
        examples=[Example(2, evil, evil)],
        facts={evil: {evil: evil}},
    )
    figures = dict.fromkeys(PICTURES, Figure(*[""] * 7))
    text = render(inputs, TrainingLog(inputs.metrics), figures)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 9


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_on_a_phone_and_a_laptop(written, dark, tmp_path):
    widths = (390, 1280)
    found = look_at(written, widths, dark=dark, tmp_path=tmp_path)
    for width, seen in zip(widths, found, strict=True):
        assert seen["scrolled"] == width, "it scrolls sideways"
        assert seen["beyond"] == []
        assert seen["small"] == []
        assert seen["faint"] == []
        assert (max(seen["ground"]) < 60) is dark
        assert len(seen["pictures"]) == len(PICTURES)
        for picture in seen["pictures"]:
            assert picture["loaded"]
            assert ("dark" in picture["media"]) is dark
            assert ("max-width" in picture["media"]) is (width == 390)
        assert seen["fetched"] == []
