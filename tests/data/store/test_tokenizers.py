"""Tokenizers: text comes back, the end of text is no text, errors name what is missing."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.store.tokenizers import (
    ByteTokenizer,
    FileTokenizer,
    train_bpe,
    trained_vocab_size,
)

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
