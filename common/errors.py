"""The one exception that a user, not a programmer, is meant to read."""

from collections.abc import Mapping

from lengthwise.common.plain_text import visible


class UserError(Exception):
    """Something the user can put right: bad config, bad data, a full disk.

    The message is one line that says what is wrong, where, and what to do about it. `main.py`
    prints it alone, without a traceback, and exits with a non-zero status.

    advice: fields of the config with values that put it right, as the message says in words.
    """

    def __init__(self, *message: object, advice: Mapping[str, object] | None = None) -> None:
        super().__init__(*message)
        self.advice = dict(advice or {})


def reason(error: Exception) -> str:
    """Why a file can't be read, without the name of it that an OSError repeats."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def one_line(error: BaseException) -> str:
    """The error's message on one line, with nothing in it that a terminal would obey."""
    return " ".join(visible(str(error)).split())
