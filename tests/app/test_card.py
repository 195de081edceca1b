"""The card of a function of tokens, and the length that a card of a folder judges by."""

import json
import re

import numpy as np
import pytest

from lengthwise.app.card import __main__ as card
from lengthwise.app.card.function import write_function_card
from lengthwise.common.errors import UserError
from tests import tiny
from tests.app.weight_folder import write_weight_folder

EVAL = {
    "ratios": (0.5, 1.0, 2.0),
    "documents": 8,
    "min_documents": 4,
    "blocks": 1,
    "targets_per_block": 8,
    "targets_per_row": 4,
    "bootstrap_samples": 20,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


def function_card(nats, corpus, workdir):
    return write_function_card(
        nats,
        text=str(corpus),
        tokenizer="bytes",
        length=64,
        workdir=str(workdir),
        settings=EVAL,
    )


def test_a_function_of_tokens_has_a_card(corpus, tmp_path):
    def by_position(tokens):
        """A loss that falls with the number of tokens before a target."""
        return np.broadcast_to(8.0 - np.arange(tokens.shape[1]) / 100, tokens.shape)

    results = function_card(by_position, corpus, tmp_path)
    rows = results.select(metric="same_target_nll", role="result", method="plain")
    assert {row.context for row in rows} == {32, 64, 128}
    for row in rows:  # targets lie at the ends of rows of the context and a few tokens
        assert 8.0 - (row.context + 8) / 100 <= row.value <= 8.0 - (row.context_from) / 100
    assert json.loads((tmp_path / "eval" / "card.json").read_text())["entries"][0]["l_train"] == 64
    assert (tmp_path / "report" / "card.html").exists()


def test_a_function_that_gives_fewer_losses_is_refused(corpus, tmp_path):
    with pytest.raises(UserError, match="it must give one a token"):
        function_card(lambda tokens: np.zeros(tokens[:, 1:].shape), corpus, tmp_path)


def test_a_folder_is_judged_by_what_the_text_reaches_up_to_its_own_length(corpus, tmp_path, capsys):
    write_weight_folder(tmp_path / "weights", positions=1 << 14)
    fields = ["--config.eval.min_documents=4", "--config.data.workers=1"]
    config = card.config_of(str(tmp_path / "weights"), str(corpus), 0, fields)
    assert config.phase.layout.largest_bucket == 1 << 14
    length = card.reached_length(config, tmp_path / "run")
    # Of documents of up to 2,000 characters: of 48 held-out ones some have more than 1,041 tokens.
    assert length == 512
    assert "judged by 512 tokens" in capsys.readouterr().out
    assert (
        card.config_of(str(tmp_path / "weights"), str(corpus), 64, ()).phase.tokens_per_step == 64
    )
    short = tmp_path / "short"
    short.mkdir()
    for number in range(30):
        (short / f"{number}.txt").write_text(f"{number} few words")
    config = card.config_of(str(tmp_path / "weights"), str(short), 0, fields)
    with pytest.raises(UserError, match=re.escape("too few long documents")):
        card.reached_length(config, tmp_path / "other")
