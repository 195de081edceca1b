"""The card of any model that a Python function scores: of another library, or of no decoder here.

    from lengthwise.app.card.function import write_function_card

    def nats(tokens):  # int [B, L] -> float [B, L]; a torch model of transformers
        with torch.no_grad():
            logits = model(torch.tensor(tokens)).logits[:, :-1].log_softmax(-1)
        losses = -logits.gather(-1, torch.tensor(tokens)[:, 1:, None])[..., 0].numpy()
        return np.pad(losses, ((0, 0), (1, 0)))

    write_function_card(nats, text="texts", tokenizer="model/tokenizer.json", length=2048,
                        end_of_text="<|endoftext|>", workdir="card")

What needs losses alone is on it: the model as it is, and truncation.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.configs import base
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.eval.inference.scorer import TargetScores
from lengthwise.eval.losses.curve_file import Evaluation
from lengthwise.eval.losses.evaluate import evaluate
from lengthwise.eval.losses.results import Results, RunIdentity, save_results
from lengthwise.eval.losses.scorable import scorable
from lengthwise.eval.statistics.curves import ScorerResult
from lengthwise.train.machine.workdir import locked

Nats = Callable[[np.ndarray], np.ndarray]  # int [B, L] -> float [B, L], column 0 is not read


class FunctionScorer:
    """A `TargetScorer` of a function, in batches of a number of tokens."""

    def __init__(self, nats: Nats, tokens_per_call: int):
        self._nats, self._tokens_per_call = nats, tokens_per_call

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        rows = max(1, self._tokens_per_call // tokens.shape[1])
        parts = []
        for start in range(0, len(tokens), rows):
            part = tokens[start : start + rows]
            nats = np.asarray(self._nats(part))
            if nats.shape != part.shape:
                raise UserError(
                    f"the function gives nats of shape {nats.shape} for tokens of shape "
                    f"{part.shape}; it must give one a token, that of the first unread"
                )
            parts.append(nats[:, 1:].astype(np.float32))
        return np.concatenate(parts)

    def targets(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> TargetScores:
        """See `TargetScorer`; nobody knows whether a target is the likeliest token."""
        nats = self(tokens)
        return TargetScores(nats, np.zeros(nats.shape, np.bool_))

    def generate(self, prompts: Sequence[np.ndarray], tokens: int) -> list[np.ndarray]:
        raise UserError("a function of losses generates nothing")


def write_function_card(
    nats: Nats,
    *,
    text: str,
    tokenizer: str,
    length: int,
    workdir: str,
    end_of_text: str = "<|endoftext|>",
    begin_with: str = "none",
    settings: Mapping[str, Any] | None = None,
) -> Results:
    """Scores a function on a folder of text, writes results and card, and returns the results.

    Args:
      nats: tokens [B, L] -> negative log-likelihood in nats of each given those before it, [B, L].
      text: folder of .txt files.
      tokenizer: bytes, or path of a tokenizer.json.
      length: tokens that the model is judged by, such as those of its training.
      end_of_text, begin_with: see data.end_of_text_token and data.begin_with.
      settings: fields of `eval`, such as {"ratios": (0.5, 1.0, 2.0)}.

    Raises:
      UserError: too little text, nats that are not finite, or of another shape.
    """
    config = base.get_config()
    config.data.update(source="text", path=text, tokenizer=tokenizer, end_of_text_token=end_of_text)
    config.data.update(begin_with=begin_with, unknown_text="allow")
    config.data.update(selection_share=0.1, report_share=0.8)
    config.eval.update({"methods": (), **(settings or {})})
    experiment = load(config, None)
    directory = user_path(workdir, "workdir")
    with locked(directory):
        store = prepare(experiment.data, directory / "store")
        reach = scorable(store, experiment.eval, length)
        left_out = tuple(map(str, reach.left_out))
        for reason in left_out:
            print(f"note: left out: {reason}")
        if not reach.contexts or reach.contexts[-1] <= length:
            raise UserError(f"text={text!r} reaches no context beyond length={length}: lower it")
        identity = RunIdentity(store.manifest.corpus_fingerprint, 0, length, "of a function")
        scorer = FunctionScorer(nats, experiment.eval.tokens_per_call)
        start = time.perf_counter()
        results = evaluate(
            store,
            lambda setting: scorer,
            identity,
            reach.config,
            store.manifest.domains,
            None,
            reads_positions=False,
        )
        results = dataclasses.replace(results, left_out=(*left_out, *results.left_out))
        save_results(results, directory / "eval" / "results.json")
        evaluation = Evaluation(
            name=directory.resolve().name,
            seed=experiment.seed,
            training="of a function",
            identity=identity,
            tokens=store.manifest.token_meaning,
            length_p95=length,
            targets_by_length={},
            scored=ScorerResult(tuple(results.curves), left_out=results.left_out),
            seconds={"scoring": time.perf_counter() - start},
        )
        _write(directory, evaluation, reach.config)
    return results


def _write(directory: Path, evaluation: Evaluation, config: Any) -> None:
    from lengthwise.eval.report.card.page import write_card

    for line in write_card(directory, [evaluation], config):
        print(line)
