"""Files of tokenizers of every model type, made by the `tokenizers` library itself. Test-only."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from lengthwise.data.store.file_tokenizer import FileTokenizer

END = "</s>"
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
TEXT = (
    "Keep the pass key. The pass key is 12345. The grass is green. The sky is blue. "
    "The sun is yellow. Here we go. The code of the place is 67890. Now one went to it. "
    "What stands there as it is right or wrong, none one two three four.\n"
)
# With what a text may spell a special token.
_CHARACTERS = "</s>hello world<unk>[UNK]"


def _special(tokenizer: Tokenizer, *names: str) -> Tokenizer:
    tokenizer.add_special_tokens(list(names))
    return tokenizer


def sentencepiece_bpe(vocab_size: int = 400) -> Tokenizer:
    """As Llama 2's file: spaces are part of tokens, a text begins with one, bytes as a fallback."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    # Words for training alone: the file itself merges in the whole text.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<unk>", "<s>", END, *BYTE_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["id"] < 3]
    content["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def sentencepiece_unigram(vocab_size: int = 400) -> Tokenizer:
    """As a file of T5's kind with a fallback to bytes: Unigram behind Metaspace."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=["<unk>", "<s>", END],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT + _CHARACTERS] * 9, trainer)
    content = json.loads(tokenizer.to_str())
    pieces = content["model"]["vocab"]
    content["model"]["vocab"] = pieces + [[token, -20.0] for token in BYTE_TOKENS]
    content["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


def unigram() -> Tokenizer:
    """Unigram with an unknown token and no fallback."""
    pieces = [("<unk>", 0.0), (END, 0.0), ("▁", -1.0), ("▁hello", -2.0), ("▁world", -2.0)]
    pieces += [(character, -5.0) for character in sorted(set(_CHARACTERS) - {" "})]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _special(tokenizer, "<unk>", END)


def word_level(*words: str, unk: str | None = "[UNK]") -> Tokenizer:
    """Words between blanks, each of which that isn't listed is the unknown token."""
    names = [END, *([unk] if unk and unk != END else []), *(words or ("hello", "world"))]
    model = models.WordLevel(
        {name: number for number, name in enumerate(names)}, **({"unk_token": unk} if unk else {})
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _special(tokenizer, END)


def word_piece() -> Tokenizer:
    """WordPiece as BERT's, with the letters of its words as pieces."""
    letters = sorted(set(_CHARACTERS) - {" "})
    names = ["[UNK]", END, "hello", "world", *letters, *(f"##{letter}" for letter in letters)]
    model = models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return _special(tokenizer, END)


def bpe(
    alphabet: str = _CHARACTERS,
    merges: Sequence[tuple[str, str]] = (),
    **options: Any,
) -> Tokenizer:
    """BPE over characters with no unknown token: what isn't in the alphabet is dropped."""
    names = [*sorted(set(alphabet)), *(a + b for a, b in merges)]
    vocab = {name: i for i, name in enumerate(dict.fromkeys([*names, END]))}
    tokenizer = Tokenizer(models.BPE(vocab, list(merges), **options))
    tokenizer.decoder = decoders.Fuse()
    return _special(tokenizer, END)


def save(tokenizer: Tokenizer, directory: Path, end: str = END) -> FileTokenizer:
    """Writes tokenizer.json and opens it."""
    path = directory / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    return FileTokenizer(path, end)
