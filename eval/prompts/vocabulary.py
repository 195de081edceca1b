"""Vocabulary of a prompt: invented names of equally many tokens, sentences of held-out text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.texts import read_text
from lengthwise.data.store.splits import Split
from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.losses.targets import DocumentSource
from lengthwise.eval.prompts.prompt import Unaskable, Vocabulary, WordSampler

SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "wi", "zo")
MISSES = 1000  # draws in a row that are of no use, before one gives up
_PROSE_CHARACTERS = 1 << 21  # of text that haystacks are cut from, at most
# A sentence or a line, with what ends it and the space behind.
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?\n]\s*|$)")


def vocabulary_of(
    rng: np.random.Generator,
    encode: Callable[[str], np.ndarray],
    prose: Callable[[], Sequence[str]],
) -> Vocabulary:
    """Draws the vocabulary of one prompt.

    encode: text -> its tokens, int [n]. prose: gives sentences of held-out text.
    """

    def draw(one: Callable[[np.random.Generator], str]) -> WordSampler:
        names = _stream(rng, one, encode)
        return lambda count: list(itertools.islice(names, count))

    def held_out() -> Iterator[str]:
        """Sentences from a random one on, cyclically."""
        texts = prose()
        if not texts:
            raise UserError("there is no held-out text for a haystack; name some in eval.haystack")
        start = int(rng.integers(len(texts)))
        while True:
            yield from texts[start:]
            start = 0

    sentences = held_out()
    return Vocabulary(
        rng=rng,
        keys=draw(_word),
        values=draw(_number),
        codes=draw(_code),
        prose=lambda: next(sentences),
        encode=encode,
    )


def _stream(
    rng: np.random.Generator,
    one: Callable[[np.random.Generator], str],
    encode: Callable[[str], np.ndarray],
) -> Iterator[str]:
    """Names of as many tokens as the first one has, no two of them of the same tokens."""
    first = one(rng)
    size = encode(first).size
    if not size:
        raise Unaskable(f"the tokenizer has no token for{first}")
    taken, misses = {encode(first).tobytes(): first}, 0
    alike = ""
    yield first
    while misses < MISSES:
        name = one(rng)
        misses += 1
        tokens = encode(name)
        other = taken.get(tokens.tobytes())
        if other is None and tokens.size == size:
            taken[tokens.tobytes()] = name
            misses = 0
            yield name
        elif other not in (None, name):
            alike = f", since{other} and{name} are the same tokens"
    raise Unaskable(f"a prompt wants more than {len(taken):,} names{alike}")


def _word(rng: np.random.Generator) -> str:
    return " " + "".join(SYLLABLES[int(i)] for i in rng.integers(len(SYLLABLES), size=4))


def _number(rng: np.random.Generator) -> str:
    return " " + str(rng.integers(10_000, 100_000))


def _code(rng: np.random.Generator) -> str:
    """A UUID, as RULER has them."""
    digits = rng.bytes(16).hex()
    return " " + "-".join(digits[a:b] for a, b in itertools.pairwise((0, 8, 12, 16, 20, 32)))


def held_out_sentences(source: DocumentSource, split: Split, tokenizer: Tokenizer) -> list[str]:
    """Sentences of a split's documents, in their order."""
    texts, characters = [], 0
    for document in source.documents(split):
        first, end = source.document_offsets[document : document + 2]
        texts.append(tokenizer.decode(source.read(int(first), int(end - first))))
        characters += len(texts[-1])
        if characters > _PROSE_CHARACTERS:
            break
    return sentences("\n".join(texts))


def sentences_of_files(path: Path) -> list[str]:
    """Sentences of a text file, or of the .txt files of a folder, hidden ones left out.

    Raises UserError: there is no text, or a file is no UTF-8.
    """
    instead = "name a text file in UTF-8, or a folder of .txt"
    texts = sentences(
        "\n".join(read_text(file, "eval.haystack", instead) for file in _text_files(path))
    )
    if not texts:
        raise UserError(
            f"eval.haystack={str(path)!r} holds no text; name a text file, or a folder of .txt"
        )
    return texts


def _text_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = sorted(path.glob("**/*.txt"))
    return [f for f in inside if not any(p.startswith(".") for p in f.relative_to(path).parts)]


def sentences(text: str) -> list[str]:
    """The text in pieces that end in a full stop, a question or exclamation mark, or a line."""
    return [piece for piece in _SENTENCE.findall(text[:_PROSE_CHARACTERS]) if piece.strip()]
