import base64
import dataclasses
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from lengthwise.eval.report.run.report import render, write_report
from lengthwise.eval.report.training_log import TrainingLog
from tests.eval.report.synthetic_report import layout, metrics, report_inputs, results

PICTURES = [
    "methods",
    "same_target",
    "position_nll",
    "training",
    "curriculum",
    "domain_losses",
    "exposure",
    "domains",
    "boundary",
    "selection",
    "scheduled",
]
# Only of runs that were evaluated while they trained.
SCHEDULED = ["selection", "scheduled"]


class Page(HTMLParser):
    """Collects headings, addresses and whether tags are balanced."""

    VOID = {"meta", "img", "source", "br", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.headings, self.addresses, self.tags, self.open, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "srcset", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    path = write_report(workdir, report_inputs())
    return path, path.read_text(encoding="utf-8")


def test_page_stands_alone(written):
    """Every picture is data inside the page; no style reaches for a file or the network. The card
    lies beside it."""
    path, text = written
    page = Page(text)
    assert page.open == []
    pictures = [address for address in page.addresses if address != "card.html"]
    assert len(pictures) == 4 * len(PICTURES)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in pictures)
    assert not {"script", "link", "iframe"} & set(page.tags)
    without_pictures = re.sub(r"data:image[^\"]+", "", text)
    assert not re.search(r"https?://|url\(|@import", without_pictures)
    for address in pictures:
        svg = base64.b64decode(address.split(",", 1)[1])
        root = ElementTree.fromstring(svg)
        hrefs = [v for node in root.iter() for k, v in node.attrib.items() if k.endswith("href")]
        assert all(href.startswith("#") for href in hrefs)
    assert path.name == "index.html"
    assert not list(path.parent.glob("*.tmp"))


def test_pictures_lie_beside_the_page_as_png(written):
    path, _ = written
    found = {p.stem: p.read_bytes() for p in path.parent.glob("*.png")}
    assert sorted(found) == sorted(PICTURES)
    assert all(content.startswith(b"\x89PNG") for content in found.values())


def test_sections_come_in_order_with_the_numbers(written):
    page = Page(written[1])
    assert page.headings == [
        "Every method against truncation",
        "More context, same targets",
        "Where it breaks: by position",
        "By length",
        "By domain",
        "Training",
        "Controls",
        "Left out",
        "Exposure",
        "Behind document boundaries",
        "Layout",
        "Config",
        "Corpus",
        "Machine",
        "Speed",
    ]
    for expected in (
        "up to 512 tokens (4x), with NTK-aware RoPE scaling",
        "no difference detectable",
        "the longest tested context such that it and every shorter tested",
        "shuffled positions at 128 tokens",
        "as expected",
        "The tails of 1,498 documents",
        "dropped 0 % of targets",
        "letters has 3 independent documents",
        "had more than 64 tokens of context, half the training length",
        "other documents in the row hurt, naive minus masked is +0.044 [+0.024, +0.064]",
        "negative log-likelihood",
        "Phase 2 pack, 1,000 steps",
        "3f1c0e9ab2d84c55",
        "layout.mixture",
        "equal_tokens",
        "31,004,118",
        "16,384,000 tokens",
    ):
        assert expected in page.text, expected


def stub_page(**changes):
    inputs = report_inputs(**changes)
    figure = dict.fromkeys(
        (
            "name",
            "caption",
            "description",
            "light_wide",
            "light_narrow",
            "dark_wide",
            "dark_narrow",
        ),
        "",
    )
    evaluated = any(r["kind"] == "eval" for r in inputs.metrics)
    names = [n for n in PICTURES if evaluated or n not in SCHEDULED]
    names = [n for n in names if n != "domain_losses" or inputs.metrics[0].get("losses")]
    return render(inputs, TrainingLog(inputs.metrics), dict.fromkeys(names, figure))


def test_text_from_outside_is_escaped():
    evil = "<script>alert(1)</script>"
    text = stub_page(
        title=evil,
        config={"model": {evil: evil}},
        facts={evil: {evil: evil}},
        layouts=[{**layout(), "notes": [evil], "layout": evil}],
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 8


def test_a_control_that_does_not_hurt_is_called_out():
    assert "mistrust" not in stub_page()
    rows = [dataclasses.replace(r, high=0.1) if r.role == "control" else r for r in results().rows]
    broken = dataclasses.replace(results(), rows=tuple(rows))
    assert "not worse: mistrust the results above" in stub_page(results=broken)


def test_steps_that_went_wrong_are_told():
    skip = {"kind": "skip", "step": 1234, "cause": "spike"}
    assert "skipped: 1, at step 1,234 (spike)" in stub_page(metrics=[*metrics(steps=50), skip])
    assert "skipped" not in stub_page(metrics=metrics(steps=50))


def test_runs_without_evaluation_during_training_and_with_several_phases():
    rows = [row for row in metrics(steps=50) if row["kind"] == "train"]
    text = stub_page(metrics=rows, layouts=[layout(), {**layout(), "layout": "concat_and_chunk"}])
    assert "Phase 1:" in text
    assert "Phase 2:" in text
    assert "concat_and_chunk" in text
    assert "Phase 1:" not in stub_page()


def test_a_run_of_one_domain_on_rows_of_one_document_has_no_such_sections():
    rows = tuple(r for r in results().rows if r.role not in ("domain", "boundary"))
    plain = [{k: v for k, v in row.items() if k != "losses"} for row in metrics(steps=50)]
    alone = dataclasses.replace(results(), rows=rows, left_out=())
    found = Page(stub_page(results=alone, metrics=plain)).headings
    assert not {"By domain", "Behind document boundaries", "Left out"} & set(found)
    assert "Exposure" in found
