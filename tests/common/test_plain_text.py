"""Text of users in every markup: as it is, or as an escape, and nothing around it breaks."""

import base64
import html
import json
import re
import warnings
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tensorboardX.proto.summary_pb2 import Summary

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.files import write_figures
from lengthwise.common.plain_text import label, visible
from lengthwise.eval.report.page import page_environment
from lengthwise.eval.report.style import (
    LIGHT,
    artist_label,
    finish_axes,
    legend,
    new_figure,
    png_bytes,
    svg_data_uri,
)

NASTY = (
    "<script>alert('x')</script>",
    "$x_1$",
    r"$\frac{1}{$ \$",
    '"quoted" & <b>',
    "two\nlines\r\n\tand more",
    "\x00\x1b[31mred\x07",
    "a" * 400,
    "\u202ereversed \u2066\u05de\u05d5\u05d3\u05dc\u2069",
    "نموذج اللغة",
    "half \ud800 a pair",
    "_private",
    "--> <!-- ]]>",
    "100 % {{ name }} {% x %}",
    "",
)
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=80))


class Tags(HTMLParser):
    """Tags, their attributes and the text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, sorted(name for name, _ in attributes)))

    def handle_data(self, data):
        self.text += data


def parsed(page):
    found = Tags()
    found.feed(page)
    found.close()
    return found


@given(TEXTS)
def test_visible_text_is_xml_utf8_and_leaves_the_rest_alone(text):
    shown = visible(text)
    root = ElementTree.fromstring(f"<a>{html.escape(shown)}</a>")
    assert (root.text or "") == shown
    assert shown.encode("utf-8").decode() == shown
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text
    Summary.Value(tag=f"loss_by_domain/{shown}", simple_value=1.0).SerializeToString()


@given(TEXTS)
def test_a_label_is_one_short_line(text):
    assert len(label(text)) <= 80
    assert "\n" not in label(text)
    if len(text) <= 80 and text.isprintable():
        assert label(text) == " ".join(text.split())
    assert label("a" * 40 + "b" * 40, 21) == "a" * 10 + "…" + "b" * 10


@given(TEXTS)
@example("\x1b[2J")
def test_an_error_has_one_line_that_no_terminal_obeys(text):
    line = one_line(UserError(f"data.path={text} is not there"))
    assert line.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@given(TEXTS)
def test_a_page_has_the_tags_that_it_has_without_it(text):
    template = page_environment().from_string(
        '<p title="{{ x }}">{{ x }}</p>{% macro m(t) %}<b>{{ t }}</b>{% endmacro %}{{ m(x) }}'
    )
    found, plain = parsed(template.render(x=text)), parsed(template.render(x="x"))
    assert found.tags == plain.tags
    # HTML itself turns each kind of line end into one.
    assert found.text.replace("\r", "\n") == visible(text).replace("\r", "\n") * 2
    template.render(x=text).encode("utf-8")


@given(TEXTS, TEXTS)
def test_json_gives_back_what_was_put_in(tmp_path_factory, key, text):
    path = tmp_path_factory.getbasetemp() / "text.json"
    write_figures(path, {key: text, "name": text})
    assert json.loads(path.read_text()) == {key: text, "name": text}


def picture(text):
    """A figure with the text wherever a name of a user may stand."""
    figure, (axes,) = new_figure(True, 1, 2.0)
    axes.plot([0, 1], [0, 1], label=artist_label(text))
    axes.set_yticks([0, 1], [text, "other"])
    axes.text(0.5, 0.5, text)
    finish_axes(axes, LIGHT, title=text, x=text, y="")
    legend(figure, axes, LIGHT, True)
    return figure


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_a_picture_is_drawn_and_is_xml(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks
        uri = svg_data_uri(picture(text))
    root = ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))
    assert root.tag.endswith("svg")
    assert not any(tag.tag.endswith("script") for tag in root.iter())


@settings(max_examples=8, deadline=None)
@given(st.text(alphabet="$\\{}_^ax<&\"'\n", max_size=30))
def test_no_text_is_mathematics(text):
    png_bytes(picture(text), LIGHT)


def test_dollars_are_drawn_and_not_obeyed():
    """As mathtext, "$x$" would be drawn as "x" in italics: other strokes."""
    strokes = [svg_data_uri(picture(text)) for text in ("$x$", "x")]
    assert len(strokes[0]) > 1.05 * len(strokes[1])


def test_a_run_whose_name_begins_with_an_underscore_has_its_place_in_the_legend():
    figure = picture("_run")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_run"]
