"""Exports a checkpoint as a folder that transformers and vLLM load (`--mode=export`)."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lengthwise.app.checkpoint import Trained
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.common.paths import user_path
from lengthwise.configs.base import RunConfig
from lengthwise.data.store.byte_tokenizer_file import BYTE_TOKENS, byte_tokenizer
from lengthwise.data.store.folder_tokenizer import TOKENIZER, TOKENIZER_CONFIG
from lengthwise.data.store.tokenizers import ByteTokenizer, IdsTokenizer, Tokenizer
from lengthwise.model.huggingface.export import choose_family, write_config, write_weights
from lengthwise.model.huggingface.folder import WeightFolder
from lengthwise.train.checkpoint.pretrained import named_folder


def new_folder(text: str) -> Path:
    """The folder that export.path names. Raises UserError: none is named, or something is in it."""
    if not text:
        raise UserError("export.path is empty; name a new folder: --config.export.path=DIR")
    path = user_path(text, "export.path")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"export.path={text!r} holds something already; name a new folder")
    return path


def export(experiment: RunConfig, trained: Trained) -> Path:
    """Writes the folder of a checkpoint; returns its path.

    config.json comes last: a folder without it isn't one.

    Raises:
      UserError: no family of transformers can hold the model, or the folder can't be written.
    """
    if jax.process_count() > 1:
        raise UserError("--mode=export runs on one process; export on one host")
    settings, path = experiment.export, new_folder(experiment.export.path)
    positions = settings.positions or trained.l_train
    wanted = settings.family
    source = named_folder(experiment.train.init_from)
    if source is not None:
        with contextlib.closing(WeightFolder(source)) as folder:
            wanted = wanted or folder.family.name
            positions = settings.positions or folder.positions or positions
    name, config = choose_family(wanted, trained.spec, trained.scaling, positions)
    leaves = jax.tree_util.tree_leaves_with_path(trained.params)
    by_name = {jax.tree_util.keystr(p, simple=True, separator="."): x for p, x in leaves}
    path.mkdir(parents=True, exist_ok=True)
    store = trained.store
    tokens = _write_tokenizer(
        path, store.tokenizer(), store.tokenizer_file, store.manifest.begin_of_text
    )
    write_weights(path, name, trained.spec, lambda each: np.asarray(by_name[each]), settings.dtype)
    write_config(path, name, config, settings.dtype, tokens)
    return path


def _write_tokenizer(
    path: Path, tokenizer: Tokenizer, own_file: str, begin: int | None
) -> dict[str, Any]:
    """Writes the files of a tokenizer; returns the special ids, as config.json has them."""
    end = tokenizer.end_of_text
    ids = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": None}
    if isinstance(tokenizer, IdsTokenizer):
        print("note: the corpus came as ids: the folder has no tokenizer")
        return ids
    named = {number: name for name, number in tokenizer.special_tokens.items()}
    if isinstance(tokenizer, ByteTokenizer):
        write_json(path / TOKENIZER, byte_tokenizer())
        named = BYTE_TOKENS
    else:
        shutil.copyfile(own_file, path / TOKENIZER)
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": named.get(-1 if begin is None else begin),
        "eos_token": named.get(end),
    }
    write_json(path / TOKENIZER_CONFIG, json.loads(json.dumps(content)))
    return ids
