"""A text that grows shows what is certain, and ends before the first stop text."""

import numpy as np
import pytest

from lengthwise.data.store.tokenizers import ByteTokenizer
from lengthwise.eval.inference.growing_text import GrowingText

PROMPT = np.frombuffer(b"ab", np.uint8).astype(np.int32)


def shown(parts, stop=()):
    text = GrowingText(ByteTokenizer(), PROMPT, stop)
    added = [text.add(np.frombuffer(part, np.uint8).astype(np.int32)) for part in parts]
    return [*added, text.rest()], text


def test_a_character_is_shown_when_it_is_whole():
    parts = ["\u00e9".encode()[:1], "\u00e9".encode()[1:] + b"x"]
    assert shown(parts)[0] == ["", "\u00e9x", ""]
    assert shown(parts[:1])[0] == ["", "\ufffd"]


@pytest.mark.parametrize(
    ("parts", "stop", "expected", "ended"),
    [
        ([b"one\n", b"\ntwo"], ("\n\n",), ["one", "", ""], True),
        ([b"one\n", b"two"], ("\n\n",), ["one", "\ntwo", ""], False),
        ([b"one\n"], ("\n\n",), ["one", "\n"], False),
        ([b"abcab", b"cd"], ("abcd", "zz"), ["abc", "", ""], True),
        ([b"x. y; z"], ("; ", ". "), ["x", ""], True),
        ([b"xyz"], ("",), ["xyz", ""], False),
    ],
)
def test_a_stop_text_is_never_shown(parts, stop, expected, ended):
    found, text = shown(parts, stop)
    assert found == expected
    assert text.ended == ended
    assert text.text == "".join(found)


def test_the_end_of_text_ends_it():
    text = GrowingText(ByteTokenizer(), PROMPT, ())
    assert text.add(np.array([120, 256], np.int32)) == "x"
    assert text.ended
    assert text.tokens.tolist() == [120, 256]
