"""Writes the card of a Hugging Face folder of weights on a folder of text: no config file.

    python -m lengthwise.app.card FOLDER --text=DIR [--workdir=OUT] [--config.FIELD=VALUE ...]

FOLDER may be a name of the hub. The length that the model is judged by is its own, from
config.json, or, where the text is too short for that, the longest that the text reaches twice over.
--length says another. Fields of the config go on top, such as --config.eval.tasks="('passkey',)".
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from lengthwise.app.command import shell
from lengthwise.app.command.config_file import override, split_flags
from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.configs.huggingface import get_config
from lengthwise.configs.resolve import load

_SHORTEST = 32  # tokens, of a length that a card judges by


def parser() -> shell.ArgumentParser:
    parser = shell.ArgumentParser(
        prog="python -m lengthwise.app.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="of weights, with config.json and tokenizer.json")
    parser.add_argument("--text", required=True, help="folder of .txt files")
    parser.add_argument("--workdir", default="", help="for the results; default: runs/card-FOLDER")
    length = "tokens that the model is judged by, a power of two; default: its own"
    parser.add_argument("--length", type=shell.at_least(_SHORTEST), default=0, help=length)
    return parser


def config_of(folder: str, text: str, length: int, fields: Sequence[str]) -> ConfigDict:
    """The config of a card. length: 0: the model's own."""
    config = get_config(folder)
    config.data.source = "text"
    config.data.path = text
    config.data.selection_share = 0.1  # chooses how far scalings reach
    config.data.report_share = 0.8
    config.phase.layout.name = "pad"  # rows of one length, whatever the text
    config = override(config, fields)
    return _judged_by(config, length or config.phase.layout.largest_bucket)


def _judged_by(config: ConfigDict, length: int) -> ConfigDict:
    """A config whose model is judged by a length."""
    if length & (length - 1):
        raise UserError(f"--length={length} is no power of two")
    config.phase.layout.smallest_bucket = config.phase.layout.largest_bucket = length
    config.phase.tokens_per_step = length
    return config


def reached_length(config: ConfigDict, workdir: Path) -> int:
    """The longest length up to the model's own that the text reaches twice over.

    Raises UserError: it reaches none.
    """
    from lengthwise.app.store import open_store
    from lengthwise.data.store.splits import Split
    from lengthwise.train.machine.workdir import locked

    experiment = load(config, None)
    with locked(workdir):
        store = open_store(experiment, workdir)
    tokens = np.diff(store.document_offsets)[store.documents(Split.REPORT)]
    least = experiment.eval.min_documents
    longest = int(np.sort(tokens)[-least]) if tokens.size >= least else 0
    own, targets = config.phase.layout.largest_bucket, experiment.eval.targets_per_block
    length = min(own, 1 << max(0, ((longest - targets - 1) // 2).bit_length() - 1))
    if length < _SHORTEST:
        raise UserError(
            f"--text={config.data.path} has too few long documents: a card needs {least} of at "
            f"least {2 * _SHORTEST + targets + 1} tokens beside others; give longer texts, or cut "
            "one long file into parts by --config.data.part_length=4000"
        )
    if length < own:
        print(
            f"note: judged by {length:,} tokens, the longest that the text reaches twice over; "
            f"the model is for {own:,}"
        )
    return length


def main(arguments: Sequence[str]) -> int:
    """Scores the folder and writes its card; returns the exit status."""
    _, fields, others = split_flags(arguments)
    options = parser().parse_args(others)
    name = Path(options.folder.rstrip("/")).name
    workdir = user_path(options.workdir or f"runs/card-{name}", "--workdir")
    config = config_of(options.folder, options.text, options.length, fields)
    from lengthwise.app import modes
    from lengthwise.app.session import Session

    Session.check(load(config, None))  # before the minutes that the text may take
    if not options.length:
        config = _judged_by(config, reached_length(config, workdir))
    return modes.run("eval", config, str(workdir))


if __name__ == "__main__":
    shell.run_command(lambda: main(sys.argv[1:]))
