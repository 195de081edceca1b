"""WordPiece in time that is linear in the length of a word."""

from typing import Any

from tokenizers import NormalizedString, PreTokenizedString, Regex

# Longer words are cut into their pieces here. The library tries every end of a word for each piece,
# which takes the cube of the word's length.
LONGEST_WORD = 1000  # characters
_NO_PIECE = "\ufdd0"  # a noncharacter, of which no piece is made
_BETWEEN = Regex(r"(?<=\A[\s\S])[\s\S]+(?=[\s\S]\z)")  # the first and the last character


class LongWords:
    """A pre-tokenizer that cuts long words into the pieces that WordPiece would make of them.

    Each is a word of its own then, with the prefix of pieces within words where it is one: the
    model finds it at its first try. A word that isn't made of pieces becomes two characters that
    none has, at its ends: one unknown token, as the model makes of it.
    """

    def __init__(self, model: dict[str, Any]):
        """model: of a `tokenizer.json`, WordPiece."""
        self._pieces = frozenset(model["vocab"])
        self._prefix = model.get("continuing_subword_prefix", "##")
        self._longest_word = model.get("max_input_chars_per_word", 100)
        self._longest = max(map(len, self._pieces), default=0)

    @staticmethod
    def needed(model: dict[str, Any]) -> bool:
        """Whether a model makes pieces of words that are so long."""
        is_word_piece = model.get("type") == "WordPiece"
        return is_word_piece and model.get("max_input_chars_per_word", 100) > LONGEST_WORD

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        text.split(self._split)

    def _split(self, _: int, word: NormalizedString) -> list[NormalizedString]:
        characters = word.normalized
        if not LONGEST_WORD < len(characters) <= self._longest_word:
            return [word]
        ends = self._ends(characters)
        if ends is None:
            word.replace(_BETWEEN, "")
            word.map(lambda _: _NO_PIECE)
            return [word]
        first, *others = _cut(word, ends)
        for piece in others:
            piece.prepend(self._prefix)
        return [first, *others]

    def _ends(self, word: str) -> list[int] | None:
        """Where the pieces end, the longest first; None: the word isn't made of pieces."""
        ends, start, prefix = [], 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                if prefix + word[start:end] in self._pieces:
                    break
            else:
                return None
            ends.append(end)
            start, prefix = end, self._prefix
        return ends


def _cut(word: NormalizedString, ends: list[int]) -> list[NormalizedString]:
    """Cuts at the ends, by halves: a slice takes time of the length of what it is taken from."""
    if len(ends) == 1:
        return [word]
    half = len(ends) // 2
    at = ends[half - 1]
    former, latter = word.slice((0, at)), word.slice((at, ends[-1]))
    assert former is not None  # the ends are within the word
    assert latter is not None
    return [*_cut(former, ends[:half]), *_cut(latter, [end - at for end in ends[half:]])]
