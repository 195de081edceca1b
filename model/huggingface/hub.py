"""The folder that a user names: a local one, or one of the hub, downloaded."""

import re
from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.common.library_errors import reading
from lengthwise.common.paths import user_path

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# No code, no pickles.
_WANTED = ("*.safetensors", "*.safetensors.index.json", "*config.json", "tokenizer*.json")


def is_hub_name(text: str) -> bool:
    """Whether a text may be the name of a model on the hub, OWNER/NAME."""
    return bool(_HUB_NAME.fullmatch(text))


def weight_folder_path(text: str, field: str) -> Path:
    """The local folder of weights that a field names; a name of the hub is downloaded, or found in
    the cache of earlier downloads.

    Raises:
      UserError: there is no such folder, and it can't be downloaded.
    """
    path = user_path(text, field)
    if path.exists():
        return path
    if not is_hub_name(text):
        raise UserError(f"{field}={text!r}: there is no such folder")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"{field}={text!r} is no folder here; to download it from the Hugging Face hub, pip "
            "install huggingface_hub, or download it elsewhere and name the folder"
        ) from error
    where = f"{field}={text!r} is no folder here, and can't be downloaded from the Hugging Face hub"
    with reading(where, "huggingface_hub"):
        return Path(snapshot_download(text, allow_patterns=list(_WANTED)))
