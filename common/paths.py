"""Paths that users give: in fields of the config and on command lines."""

import re
from pathlib import Path

from lengthwise.common.errors import UserError

_MOUNTS = {
    "gs": "gcsfuse --implicit-dirs BUCKET /mnt/BUCKET",
    "s3": "mount-s3 BUCKET /mnt/BUCKET",
}
# One that went through a path has a single slash left.
_ADDRESS = re.compile(
    r"(?P<scheme>(gs|s3)(?=:/)|[A-Za-z][\w+.-]*(?=://)):/+(?P<rest>.*)", re.DOTALL
)


def user_path(text: str, field: str) -> Path:
    """The local path that a user gave; ~ is their home, as in a shell.

    field: the name of the field or flag, for errors.

    Raises UserError for an address, with the way to mount a bucket, and for what is no path.
    """
    named = f"{field}={text!r}"
    if address := _ADDRESS.match(text):
        scheme, rest = address["scheme"], address["rest"]
        if scheme not in _MOUNTS:
            raise UserError(f"{named}: files are read and written at local paths; copy them here")
        bucket, _, inside = rest.partition("/")
        command = _MOUNTS[scheme].replace("BUCKET", bucket)
        raise UserError(
            f"{named}: mount the bucket ({command}) and set {field}='/mnt/{bucket}/{inside}'"
        )
    if "\0" in text:
        raise UserError(f"{named} is no path: a null character is in it")
    return Path.home() / text[2:] if text == "~" or text.startswith("~/") else Path(text)
