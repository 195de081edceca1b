"""A folder of weights from the command line: scored, generated from, trained on, exported."""

import json
import re
import sys

import numpy as np
import pytest

from lengthwise.data.store.file_tokenizer import FileTokenizer
from lengthwise.data.store.tokenizers import ByteTokenizer
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from tests import tiny
from tests.app.weight_folder import MODEL, write_weight_folder
from tests.model.decoder_reference import changed

SMALL = (
    "--config.data.source=text",
    "--config.data.workers=1",
    "--config.data.selection_share=0.2",
    "--config.data.report_share=0.2",
    "--config.phase.layout.smallest_bucket=16",
    "--config.phase.tokens_per_step=512",
    "--config.eval.ratios=(0.5, 1.0, 2.0)",
    "--config.eval.methods=()",
    "--config.eval.documents=8",
    "--config.eval.min_documents=4",
    "--config.eval.blocks=1",
    "--config.eval.targets_per_block=8",
    "--config.eval.targets_per_row=4",
    "--config.eval.bootstrap_samples=50",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_weight_folder(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


def of_folder(folder, workdir):
    return f"--config=configs/huggingface.py:{folder}", f"--workdir={workdir}"


def test_a_folder_is_scored_generated_from_and_exported_again(lengthwise, folder, corpus, tmp_path):
    run, again = tmp_path / "run", tmp_path / "again"
    more = *SMALL, f"--config.data.path={corpus}"
    status, _out, errors = lengthwise(*of_folder(folder, run), "--mode=eval", *more)
    assert (status, errors) == (0, [])
    results = json.loads((run / "eval" / "results.json").read_text())
    assert {(row["checkpoint_step"], row["l_train"]) for row in results["rows"]} == {(0, 64)}
    assert (run / "report" / "card.html").exists()
    # The output is near uniform before any training: ln 264 rows, not ln 257 tokens.
    losses = [row["value"] for row in results["rows"] if row["metric"] == "same_target_nll"]
    assert np.mean(losses) == pytest.approx(np.log(264), abs=0.5)

    path = f"--config.export.path={again}"
    assert lengthwise("--mode=export", f"--workdir={run}", path)[0] == 0
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    before, after = (json.loads((each / "config.json").read_text()) for each in (folder, again))
    assert after == before | {"bos_token_id": None, "pad_token_id": None}
    assert after["model_type"] == "smollm3"


def test_texts_are_generated_without_a_corpus(lengthwise, folder, tmp_path):
    status, _out, errors = lengthwise(
        *of_folder(folder, tmp_path),
        "--mode=generate",
        "--config.generate.prompt=ab",
        "--config.generate.max_tokens=12",
        "--config.generate.temperature=9.0",
    )
    assert (status, errors) == (0, [])
    (row,) = map(json.loads, (tmp_path / "generate" / "0001.jsonl").read_text().splitlines())
    assert max(row["tokens"]) < 257
    assert not (tmp_path / "store").exists()


def test_training_begins_with_the_weights(lengthwise, unscored, folder, corpus, tmp_path):
    more = *SMALL, f"--config.data.path={corpus}", "--config.phase.steps=1"
    status, _out, errors = lengthwise(*of_folder(folder, tmp_path), *more)
    assert (status, errors) == (0, [])
    shapes = Checkpoints(tmp_path / "checkpoints", read_only=True).parameter_shapes(0)
    assert shapes["embedding"] == (264, 16)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--config.model.qk_norm=head",), "train.init_from=.* holds another model: model.qk_norm"),
        (("--config.model.mlp_dim=32",), "model.mlp_dim: 24 -> 32"),
        (("--config.train.init_from=nobody/nothing",), "pip install huggingface_hub"),
    ],
)
def test_a_folder_of_another_model_is_refused_before_anything_is_written(
    refused, monkeypatch, folder, corpus, tmp_path, flags, message
):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as where it isn't installed
    more = *SMALL, f"--config.data.path={corpus}", *flags
    error = refused(*of_folder(folder, tmp_path / "run"), *more)
    assert re.search(message, error), error
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_tokenizer_with_more_ids_than_rows_is_refused(refused, tmp_path):
    small = changed(MODEL, vocab_size=100, vocab_rows=100)
    write_weight_folder(tmp_path / "weights", small)
    error = refused(
        *of_folder(tmp_path / "weights", tmp_path / "run"),
        "--mode=generate",
        "--config.generate.prompt=a",
    )
    assert "vocab_rows=100 is below the 257 ids of the tokenizer" in error


def test_the_file_of_the_byte_tokenizer_has_its_ids(folder):
    ours, file = ByteTokenizer(), FileTokenizer(folder / "tokenizer.json", "<|endoftext|>")
    text = "a b\n\tç\U0001f600 <|endoftext|> é"
    np.testing.assert_array_equal(file.encode_batch([text])[0], ours.encode_batch([text])[0])
    assert (file.vocab_size, file.end_of_text) == (ours.vocab_size, ours.end_of_text)
