"""The card as a page: by itself, escaped, and as a browser shows it."""

import dataclasses
import json
import re

import pytest

from lengthwise.common.errors import UserError
from lengthwise.eval.card.card import make_card
from lengthwise.eval.losses.curve_file import load_evaluation
from lengthwise.eval.report.card.page import render_card, write_card
from lengthwise.eval.report.page import Figure
from lengthwise.eval.statistics.curves import ScorerResult
from tests.eval.planted import eval_config
from tests.eval.report.browser import look_at
from tests.eval.report.synthetic_card import evaluation
from tests.eval.report.test_report import Page

CONFIG = eval_config(bootstrap_samples=200)
FIGURES = ["card_heat", "card_tasks", "card_losses", "card_grids"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two seeds beside another training: every section is there."""
    workdir = tmp_path_factory.mktemp("run")
    said = write_card(
        workdir,
        [
            evaluation(),
            evaluation("seed1", seed=1),
            evaluation("a-window-with-a-rather-long-name", training="b", worse=0.2),
        ],
        CONFIG,
    )
    return workdir, said


def test_everything_is_written_and_the_page_stands_alone(written):
    workdir, said = written
    page = workdir / "report" / "card.html"
    assert said[-1] == f"card: {page}"
    assert json.loads((workdir / "eval" / "card.json").read_text())["entries"]
    assert load_evaluation(workdir).name == "quickstart"
    assert {p.stem for p in (workdir / "report").glob("*.png")} == {*FIGURES, "card"}
    text = page.read_text()
    parsed = Page(text)
    assert parsed.open == []
    local = [a for a in parsed.addresses if not a.startswith("data:image/svg+xml;base64,")]
    assert local == ["card.csv", "../eval/card.json", "card.md", "card.png", "index.html"]
    assert all((page.parent / address).exists() for address in local[:-1])
    without = re.sub(r"data:image[^\"]+", "", text)
    assert not re.search(r"https?://|url\(|@import", without)
    assert not {"script", "link", "iframe"} & set(parsed.tags)


def test_the_sections_come_in_order(written):
    parsed = Page((written[0] / "report" / "card.html").read_text())
    assert parsed.headings == [
        "Against truncation to 128 tokens",
        "Side by side",
        "Tasks by length",
        "What length is worth",
        "Where in the input",
        "Why it fails",
        "Also found",
        "All numbers",
        "Left out",
    ]
    for expected in (
        "quickstart and another seed",
        "this training (2 seeds)",
        "no prompt fits 64 tokens",
        "Critical complexity: 2 facts.",
        "6.49 %",  # 25 of 385 seconds
    ):
        assert expected in parsed.text, expected


def stub(evaluations):
    figure = Figure(*[""] * 7)
    return render_card(make_card(evaluations, CONFIG), dict.fromkeys(FIGURES, figure))


def test_one_run_speaks_of_a_checkpoint_and_several_seeds_of_a_training():
    alone = stub([evaluation()])
    assert "speaks of one checkpoint" in alone
    assert "Side by side" not in alone
    assert "speaks of one checkpoint" not in stub([evaluation(), evaluation("s", seed=1)])


def test_text_from_outside_is_escaped():
    evil = "<script>alert(1)</script>"
    made = evaluation(evil)
    scored = dataclasses.replace(made.scored, sentences=(evil,), left_out=(evil,))
    text = stub([dataclasses.replace(made, scored=scored), evaluation(evil, training="b")])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6


def test_a_card_of_losses_alone_has_no_sections_of_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lengthwise.eval.report.page.render_picture", lambda picture: (Figure(*[""] * 7), b"")
    )
    made = evaluation()
    losses = tuple(c for c in made.scored.curves if c.unit == "nats/token")
    write_card(tmp_path, [dataclasses.replace(made, scored=ScorerResult(losses))], CONFIG)
    headings = Page((tmp_path / "report" / "card.html").read_text()).headings
    assert not {"Tasks by length", "Why it fails", "Where in the input"} & set(headings)
    assert "What length is worth" in headings


def test_the_curves_are_kept_where_a_comparison_is_refused(tmp_path):
    with pytest.raises(UserError, match="same training"):
        write_card(tmp_path, [evaluation(), evaluation("again")], CONFIG)
    assert load_evaluation(tmp_path).name == "quickstart"
    assert not (tmp_path / "eval" / "card.json").exists()


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_on_a_phone_and_a_laptop(written, dark, tmp_path):
    widths = (390, 1280)
    found = look_at(written[0] / "report" / "card.html", widths, dark=dark, tmp_path=tmp_path)
    for width, seen in zip(widths, found, strict=True):
        assert seen["width"] == width
        assert seen["scrolled"] == width, "it scrolls sideways"
        assert seen["beyond"] == []
        assert seen["small"] == []
        assert seen["faint"] == []
        assert (max(seen["ground"]) < 60) is dark
        assert len(seen["pictures"]) == len(FIGURES)
        for picture in seen["pictures"]:
            assert picture["loaded"]
            assert ("dark" in picture["media"]) is dark
            assert ("max-width" in picture["media"]) is (width == 390)
        assert seen["fetched"] == []
