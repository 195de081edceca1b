"""The tokenizer of a folder of weights: its end of text, and the token before each text.

Read from tokenizer.json, whose template is what transformers follows; tokenizer_config.json may say
otherwise and isn't asked, but for the name of an end of text that no id tells.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lengthwise.common.errors import UserError
from lengthwise.common.files import read_json_object
from lengthwise.data.store.tokenizers import NO_TOKEN

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


class FolderTokenizer(NamedTuple):
    """Values of data.tokenizer, data.end_of_text_token and data.begin_with."""

    path: str
    end_of_text: str
    begin_with: str


def folder_tokenizer(folder: Path, end_of_text: int | None, template: bool) -> FolderTokenizer:
    """The settings of a folder's tokenizer.

    Args:
      end_of_text: its id by the config of the model; None: it has none.
      template: whether the template of the tokenizer counts, which may begin with a token.

    Raises:
      UserError: there is no tokenizer.json, or nobody says what ends a text.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        raise UserError(
            f"{folder} has no {TOKENIZER}; AutoTokenizer.from_pretrained(FOLDER).save_pretrained("
            "FOLDER) of transformers writes it"
        )
    content = read_json_object(path)
    names = dict(_tokens(content))
    ends = names.get(-1 if end_of_text is None else end_of_text) or _named_end(folder)
    if ends is None:
        raise UserError(
            f"{folder}: no token ends a text: neither eos_token_id of config.json, "
            f"{end_of_text}, nor eos_token of {TOKENIZER_CONFIG} is in {TOKENIZER}; name it in "
            "data.end_of_text_token"
        )
    begins = next(_first_tokens(content.get("post_processor")), None) if template else None
    return FolderTokenizer(str(path), ends, begins or NO_TOKEN)


def _tokens(content: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """(id, token) of a tokenizer.json, as far as it is one: that is checked when it is loaded."""
    model = content.get("model")
    vocab = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocab, Mapping):
        yield from ((number, name) for name, number in vocab.items() if isinstance(number, int))
    elif isinstance(vocab, list):
        yield from ((number, piece[0]) for number, piece in enumerate(vocab))
    for token in content.get("added_tokens") or ():
        yield token["id"], token["content"]


def _named_end(folder: Path) -> str | None:
    """The end of text of tokenizer_config.json, where there is one."""
    path = folder / TOKENIZER_CONFIG
    named = read_json_object(path).get("eos_token") if path.is_file() else None
    if isinstance(named, Mapping):
        named = named.get("content")
    return named if isinstance(named, str) else None


def _first_tokens(processor: Any) -> Iterator[str]:
    """The special token that a template puts before a text, of each template in order."""
    if not isinstance(processor, Mapping):
        return
    for each in processor.get("processors") or ():
        yield from _first_tokens(each)
    for item in (processor.get("single") or ())[:1]:
        if isinstance(item, Mapping) and "SpecialToken" in item:
            yield item["SpecialToken"]["id"]
