"""Lengthwise: train on natural lengths, score beyond them.

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart

`--mode=train` prepares the data when missing, goes on where WORKDIR left off, and writes the
report; `eval` scores a trained work directory again; `prepare` only makes the token store.
"""

import sys

from absl import flags, logging
from ml_collections import config_flags

from errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything of the run is kept.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "eval", "prepare"], "What to do.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the other processes of a pod (jax.distributed.initialize)."
)


def main(argv: list[str]) -> int:
    """Runs the mode; returns the exit status."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; fields are set by --config.field=value")
    config, workdir = _CONFIG.value, _WORKDIR.value
    if config is None or workdir is None:
        missing = "--config" if config is None else "--workdir"
        raise UserError(f"{missing} is missing; see python main.py --help")
    import jax  # after the flags: --help and a mistyped field should not wait for it

    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    import modes

    return modes.run(_MODE.value, config, workdir)


def one_line(error: BaseException) -> str:
    """The error's message on one line."""
    return " ".join(str(error).split())


def entry() -> None:
    """Parses flags and runs; a user's mistake ends in one line and status 2."""
    logging.set_verbosity(logging.WARNING)
    try:
        remaining = flags.FLAGS(sys.argv)
        status = main(remaining)
    except (UserError, flags.Error, AttributeError, OSError) as error:
        if isinstance(error, AttributeError) and "Did you mean" not in str(error):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
        status = 2
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)


if __name__ == "__main__":
    entry()
