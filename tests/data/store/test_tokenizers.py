"""Tokenizers: text comes back, the end of text is no text, errors name what is missing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from lengthwise.common.errors import UserError
from lengthwise.data.store import long_words
from lengthwise.data.store.file_tokenizer import FileTokenizer, train_bpe
from lengthwise.data.store.long_words import LongWords
from lengthwise.data.store.tokenizers import ByteTokenizer, trained_vocab_size
from tests.data.store import tokenizer_files as files

END = "<|endoftext|>"
TEXTS = ["def length(x):\n\treturn len(x)\n", f"über {END} 漢字 and {END}", "aaaa bbbb aaaa bbbb"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_bytes(train_bpe(TEXTS * 20, 300, END))
    return path


@given(st.lists(st.text()))
def test_bytes_round_trip(texts: list[str]) -> None:
    tokenizer = ByteTokenizer()
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.tolist() == list(text.encode("utf-8"))
        assert tokenizer.decode([*ids, 256]) == text


def test_bytes_cut_inside_a_character() -> None:
    assert ByteTokenizer().decode(np.frombuffer("aä".encode()[:2], np.uint8)) == "a\ufffd"


@given(st.lists(st.text(), max_size=5))
def test_trained_round_trip(trained: Path, texts: list[str]) -> None:
    tokenizer = FileTokenizer(trained, END)
    texts = [*texts, *TEXTS]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.max(initial=0) < tokenizer.vocab_size
        assert tokenizer.decode([*ids, tokenizer.end_of_text]) == text


def test_training_compresses_fills_the_vocabulary_and_repeats(trained: Path) -> None:
    tokenizer = FileTokenizer(trained, END)
    assert 257 < tokenizer.vocab_size <= 300
    (ids,) = tokenizer.encode_batch([TEXTS[2]])
    assert ids.size < len(TEXTS[2]) / 2
    assert train_bpe(TEXTS * 20, 300, END) == trained.read_bytes()


@pytest.mark.parametrize("listed_as", ["special", "ordinary", "plain vocabulary"])
def test_spelled_out_end_of_text_is_text(trained: Path, tmp_path: Path, listed_as: str) -> None:
    content = json.loads(trained.read_bytes())
    if listed_as == "ordinary":
        content["added_tokens"][0]["special"] = False
    elif listed_as == "plain vocabulary":
        content["added_tokens"] = []
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    tokenizer = FileTokenizer(path, END)
    assert tokenizer.end_of_text == FileTokenizer(trained, END).end_of_text
    (ids,) = tokenizer.encode_batch([f"a{END}b"])
    assert tokenizer.end_of_text not in ids
    assert tokenizer.decode(ids) == f"a{END}b"


def test_no_truncation_padding_or_template_from_the_file(trained: Path, tmp_path: Path) -> None:
    content = json.loads(trained.read_bytes())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": END,
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    plain = FileTokenizer(trained, END).encode_batch(["hello there, world"])[0]
    assert FileTokenizer(path, END).encode_batch(["hello there, world"])[0].tolist() == (
        plain.tolist()
    )
    assert plain.size > 3


def test_vocabulary_with_holes_counts_to_its_last_id(trained: Path, tmp_path: Path) -> None:
    content = json.loads(trained.read_bytes())
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 900, "content": "<pad>"})
    content["model"]["vocab"]["<pad>"] = 900
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    assert FileTokenizer(path, END).vocab_size == 901


@pytest.mark.parametrize("kind", ["two pieces", "an added token and a piece"])
def test_tokens_of_the_same_id_are_refused(trained: Path, tmp_path: Path, kind: str) -> None:
    content = json.loads(trained.read_text(encoding="utf-8"))
    vocab = content["model"]["vocab"]
    if kind == "two pieces":
        one, other = list(vocab)[-2:]
        vocab[one] = vocab[other]
    else:  # The library then gives it the number of pieces as its id.
        del vocab["<|endoftext|>"]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="have the same id"):
        FileTokenizer(path, "<|endoftext|>")


@pytest.mark.parametrize("special", [True, False])
def test_an_added_token_that_the_library_gives_another_id_is_refused(
    special: bool, tmp_path: Path
) -> None:
    content = json.loads(files.bpe().to_str())
    pad = content["added_tokens"][0] | {"content": "<pad>", "special": special}
    library_id = len(content["model"]["vocab"])
    content["added_tokens"].append(pad | {"id": library_id + 5})
    library = Tokenizer.from_str(json.dumps(content))
    assert library.token_to_id("<pad>") == library_id
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    says = f"'<pad>' has the id {library_id + 5}, but would be encoded as {library_id}"
    with pytest.raises(UserError, match=says):
        FileTokenizer(path, files.END)
    content["model"]["vocab"]["<pad>"] = library_id + 5  # the way out
    path.write_text(json.dumps(content), encoding="utf-8")
    assert FileTokenizer(path, files.END).vocab_size == library_id + 6


def test_added_tokens_behind_the_vocabulary_keep_their_ids(tmp_path: Path) -> None:
    plain = files.bpe()
    plain.add_tokens(["HELLO", "WORLD"])
    tokenizer = files.save(plain, tmp_path)
    text = "hello WORLD HELLO"
    assert tokenizer.encode_batch([text])[0].tolist() == plain.encode(text).ids
    assert tokenizer.unknown(f"{text} 日") == ["日"]


def test_description_tells_files_apart(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_bytes(train_bpe(TEXTS * 20, 290, END))
    assert FileTokenizer(other, END).describe() != FileTokenizer(trained, END).describe()


def test_errors_name_the_file(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*absent\.json"):
        FileTokenizer(tmp_path / "absent.json", END)
    with pytest.raises(UserError, match=r"has no token '</s>'.*data\.end_of_text_token"):
        FileTokenizer(trained, "</s>")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(UserError, match=r"broken\.json is not a tokenizer\.json"):
        FileTokenizer(broken, END)


def test_names_of_trained_tokenizers() -> None:
    assert trained_vocab_size("bytes") is None
    assert trained_vocab_size("some/tokenizer.json") is None
    assert trained_vocab_size("train:bpe:4096") == 4096
    for name in ("train:bpe:", "train:bpe:256", "train:bpe:many", "train:bpe:-5"):
        with pytest.raises(UserError, match="at least 257"):
            trained_vocab_size(name)


SPELLS_END = [("<", "/"), ("s", ">"), ("</", "s>"), ("</s>", "h")]
MODELS = {
    "sentencepiece BPE": files.sentencepiece_bpe,
    "sentencepiece Unigram": files.sentencepiece_unigram,
    "Unigram": files.unigram,
    "WordLevel": files.word_level,
    "WordLevel whose unknown word is the end of text": lambda: files.word_level(unk=files.END),
    "WordPiece": files.word_piece,
    "BPE": files.bpe,
    "BPE that merges the end of text": lambda: files.bpe(merges=SPELLS_END),
    "BPE that ignores merges": lambda: files.bpe(ignore_merges=True),
}


@pytest.mark.parametrize("model", MODELS)
def test_text_that_spells_a_special_token_is_characters(model: str, tmp_path: Path) -> None:
    plain = MODELS[model]()
    tokenizer = files.save(plain, tmp_path)
    if "unknown word" in model:  # its own choice for words that it doesn't know
        assert (tokenizer.encode_batch(["hello"])[0] != tokenizer.end_of_text).all()
        return
    special = {plain.token_to_id(name) for name in ("<s>", "<unk>", files.END)}
    texts = ["hello </s> world", "hello</s>world", "</s>", "</s></s> hello", "hello <s> <unk>"]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert not special & set(ids.tolist()), text
        if "Word" not in model:
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("model", MODELS)
def test_hiding_special_tokens_changes_no_other_ids(model: str, tmp_path: Path) -> None:
    plain = MODELS[model]()
    tokenizer = files.save(plain, tmp_path)
    for text in ("hello world", "hello  world\n", "world of hello", files.TEXT):
        expected = plain.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode_batch([text])[0].tolist() == expected
    assert tokenizer.end_of_text == plain.token_to_id(files.END)
    assert tokenizer.vocab_size == max(plain.get_vocab().values()) + 1


def word_level_with_bytes() -> Tokenizer:
    plain = files.word_level("hello", *files.BYTE_TOKENS)
    plain.decoder = decoders.ByteFallback()
    return plain


MERGES_A_BYTE = [("<", "0"), ("x", "4"), ("1", ">"), ("x4", "1>"), ("<0", "x41>")]


@pytest.mark.parametrize(
    "model",
    [
        files.sentencepiece_bpe,
        files.sentencepiece_unigram,
        word_level_with_bytes,
        lambda: files.bpe("<0x41>ab", MERGES_A_BYTE),
    ],
)
def test_text_that_spells_the_token_of_a_byte_is_characters(
    model: Callable[[], Tokenizer], tmp_path: Path
) -> None:
    plain = model()
    if not plain.get_vocab().keys() >= {"▁"}:
        plain.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = files.save(plain, tmp_path)
    byte = plain.token_to_id("<0x41>")
    for text in ("<0x41>", "a<0x41>b", "<0x41><0x41>"):
        (ids,) = tokenizer.encode_batch([text])
        assert byte not in ids
        if plain.get_vocab().keys() >= {"a"}:
            assert tokenizer.decode(ids) == text
    for text in ("hello <0x4", "a <0 x41>", "<0xZ1>"):  # as the library has them
        assert tokenizer.encode_batch([text])[0].tolist() == plain.encode(text).ids


def word_piece_of_long_words(longest: int = 10**9) -> Tokenizer:
    content = json.loads(files.word_piece().to_str())
    content["model"]["max_input_chars_per_word"] = longest
    for number, piece in enumerate(["hell", "##orl", "##ld", "##wor", "o" * 30, "##" + "l" * 40]):
        content["model"]["vocab"][piece] = 1000 + number
    return Tokenizer.from_str(json.dumps(content))


@given(
    st.lists(st.sampled_from(["hello", "world", "#", "o" * 31, "l" * 41, "日", " "]), min_size=1)
)
def test_long_words_have_the_pieces_of_the_library(parts: list[str]) -> None:
    plain = word_piece_of_long_words()
    model = json.loads(plain.to_str())["model"]
    cutting = Tokenizer.from_str(plain.to_str())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_words, "LONGEST_WORD", 3)  # with real ones the library takes minutes
        cutting.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), PreTokenizer.custom(LongWords(model))]
        )
        text = "".join(parts)
        expected, encoded = plain.encode(text), cutting.encode(text)
    assert (encoded.ids, encoded.offsets) == (expected.ids, expected.offsets)


def test_a_word_of_many_letters_is_encoded(tmp_path: Path) -> None:
    """By the library alone it would take ten minutes."""
    plain = word_piece_of_long_words(30_001)
    tokenizer = files.save(plain, tmp_path)
    words = ["orl" * 10_000, "orl" * 10_000 + "日", "o" * 30_002]
    made, unknown, longer = tokenizer.encode_batch(words)
    ids = [plain.token_to_id(piece) for piece in ("o", "##r", "##l", "##orl")]
    assert made.tolist() == [*ids[:3], *ids[3:] * 9_999]
    assert unknown.tolist() == longer.tolist() == [plain.token_to_id("[UNK]")]
    assert tokenizer.unknown("hello " + "orl" * 999 + "日 world") == ["orl" * 999 + "日"]


def test_dropout_of_the_file_is_not_taken(tmp_path: Path) -> None:
    merges = [("h", "e"), ("l", "o"), ("w", "o")]
    tokenizer = files.save(files.bpe(merges=merges, dropout=0.5), tmp_path)
    (ids,) = tokenizer.encode_batch(["hello world " * 50])
    assert all((each == ids).all() for each in tokenizer.encode_batch(["hello world " * 50] * 9))


@pytest.mark.parametrize(
    ("model", "text", "unknown"),
    [
        (files.bpe, "hello 日本語 world", ["日本語"]),
        (files.bpe, "hello world", []),
        (files.bpe, "日hello\n世 world界", ["日", "世", "界"]),
        (files.unigram, "hello 日本語 world é", ["日本語", "é"]),
        (files.word_level, "hello there, world", ["there,"]),
        (files.word_level, "[UNK] hello", ["[UNK]"]),
        (lambda: files.word_level(unk=files.END), "hello there </s>", ["there", "</s>"]),
        (files.word_piece, "hello old xyz wor日 ", ["xyz", "wor日"]),
        (files.sentencepiece_bpe, "日本語 </s> \x00", []),
        (files.sentencepiece_unigram, "日本語 </s> \x00", []),
    ],
)
def test_text_without_tokens_of_its_own_is_found(
    model: Callable[[], Tokenizer], text: str, unknown: list[str], tmp_path: Path
) -> None:
    assert files.save(model(), tmp_path).unknown(text) == unknown


def test_byte_level_bpe_and_bytes_know_every_text(trained: Path) -> None:
    tokenizer = FileTokenizer(trained, END)
    for text in TEXTS:
        assert tokenizer.unknown(text) == ByteTokenizer().unknown(text) == []


def test_what_normalization_removes_is_not_unknown(tmp_path: Path) -> None:
    plain = files.bpe()
    plain.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer = files.save(plain, tmp_path)
    assert tokenizer.unknown("he\u0301llo h\u00e9llo") == []
    assert tokenizer.unknown("he\u0301llo 日") == ["日"]


def test_a_file_without_an_unknown_token_says_what_it_cannot_encode(tmp_path: Path) -> None:
    tokenizer = files.save(files.word_level("hello", unk=None), tmp_path)
    assert tokenizer.encode_batch(["hello"])[0].size == 1
    with pytest.raises(UserError, match=r"tokenizer\.json can't encode a text: WordLevel error"):
        tokenizer.encode_batch(["hello there"])
    assert tokenizer.unknown("hello there") == ["there"]
