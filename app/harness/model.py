"""Model of lm-evaluation-harness over a checkpoint, without torch.

Too long requests are errors, never cut. Documents are scored whole, in one window.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.inference.cached_model import CachedModel
from lengthwise.eval.inference.cached_scorer import CachedScorer, Continuation
from lengthwise.eval.inference.continued_text import decode_behind, encode_pair
from lengthwise.eval.inference.generation import generate
from lengthwise.eval.inference.start_token import UNTRAINED, StartToken
from lengthwise.model.decode import Sampling

_AT_A_TIME = 256  # contexts, so that the bar moves
_APART = "continuations share tokens with their context and are encoded apart from it"
_UNKNOWN = "texts hold some that the tokenizer has no token for"
_UNTRAINED_START = f"texts without a context stand behind an end of text: {UNTRAINED}"
_FIRST_LEFT_OUT = f"texts of rolling scores are scored without their first token: {UNTRAINED}"
_MAX_NEW_TOKENS = 256  # where a task names no number, as in the harness's own models


class CheckpointLM(TemplateLM):
    """A checkpoint under the interface of the harness.

    Args:
      longest: tokens of context and continuation together, at most.
      beyond: by a number of tokens, the model that runs longer requests in place of `model`.
    """

    def __init__(
        self,
        model: CachedModel,
        tokenizer: Tokenizer,
        longest: int,
        start: StartToken,
        beyond: Mapping[int, CachedModel] | None = None,
    ):
        super().__init__()
        # By tokens that a request has more of, the greatest first.
        by_length = {0: model, **(beyond or {})}
        self._models = {
            least: dataclasses.replace(by_length[least], longest=longest)
            for least in sorted(by_length, reverse=True)
        }
        self._scorers = {least: CachedScorer(each) for least, each in self._models.items()}
        self._tokens = tokenizer
        self._longest = longest
        self._start = start
        self._counts: Counter[str] = Counter()  # texts so far, by what there is to say of them

    def notes(self) -> list[str]:
        """Sentences on the texts that were scored or written so far."""
        return [f"{count:,} {what}" for what, count in sorted(self._counts.items()) if count]

    @property
    def eot_token_id(self) -> int:
        return self._tokens.end_of_text

    @property
    def prefix_token_id(self) -> int:
        return self._start.id

    @property
    def max_length(self) -> int:
        return self._longest

    @property
    def tokenizer_name(self) -> str:
        return self._tokens.describe()

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Ids of a text, without special tokens."""
        self._counts[_UNKNOWN] += bool(self._tokens.unknown(string))
        ids: list[int] = self._tokens.encode_batch([string])[0].tolist()
        return ids

    def _prompt(self, ids: Sequence[int]) -> list[int]:
        """Ids of a prompt, of one token at least."""
        self._counts[_UNTRAINED_START] += not ids and not self._start.trained
        prompt: list[int] = self._start.before(np.array(ids, np.int32)).tolist()
        return prompt

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Scores continuations behind their contexts; see `_loglikelihood_tokens`."""
        texts = [request.args for request in requests]
        encoded = [(pair, *self._encode_pair(*pair)) for pair in texts]
        return self._loglikelihood_tokens(encoded, disable_tqdm=disable_tqdm)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        before, tokens, shared = encode_pair(self._tokens, context, continuation)
        self._counts[_APART] += not shared
        self._counts[_UNKNOWN] += bool(self._tokens.unknown(context + continuation))
        return self._prompt(before.tolist()), tokens.tolist()

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        """Scores continuations in the order of the requests: log-likelihood in nats, and whether
        greedy decoding would generate it."""
        by_context: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for number, (texts, context, continuation) in enumerate(requests):
            self._check(len(context) + len(continuation))
            if not continuation:
                raise UserError(
                    f"the continuation {texts[1]!r} has no token under {self._tokens.describe()}; "
                    "leave its task out"
                )
            least = self._least(len(context) + len(continuation))
            by_context.setdefault((least, tuple(context)), []).append(number)
        # Contexts of like lengths together: padding is computed too.
        contexts = sorted(by_context, key=lambda key: (key[0], len(key[1])))
        scored: dict[int, Continuation] = {}
        batches = [
            some[start : start + _AT_A_TIME]
            for _, group in itertools.groupby(contexts, key=lambda key: key[0])
            for some in [list(group)]
            for start in range(0, len(some), _AT_A_TIME)
        ]
        bar = ProgressBar(batches, desc="scoring", unit="batch", disable=disable_tqdm or None)
        for part in bar:
            continuations = [
                [np.array(requests[i][2], np.int32) for i in by_context[key]] for key in part
            ]
            scorer = self._scorers[part[0][0]]
            results = scorer([np.array(c, np.int32) for _, c in part], continuations)
            for key, each in zip(part, results, strict=True):
                scored |= dict(zip(by_context[key], each, strict=True))
        return [
            (-float(scored[i].nats.sum(dtype=np.float64)), scored[i].greedy)
            for i in range(len(requests))
        ]

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Log-likelihoods in nats of whole texts behind the start token, or without their first
        token where that was no input of the training."""
        texts = [request.args[0] for request in requests]
        first = 0 if self._start.trained else 1
        pairs = []
        for text in texts:
            ids = self.tok_encode(text)
            self._counts[_FIRST_LEFT_OUT] += bool(ids[:first])
            before = ids[:first] if first else [self._start.id]
            pairs.append((("", text), before, ids[first:]))
        some = [pair for pair in pairs if pair[2]]
        scores = iter(self._loglikelihood_tokens(some, disable_tqdm=disable_tqdm))
        return [next(scores)[0] if pair[2] else 0.0 for pair in pairs]

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Generates greedily, or by a task's temperature, top_k and top_p, up to the first of its
        `until`. Sampling is seeded by 0 and the number of the request.
        """
        by_way: dict[tuple[Sampling, int, int], list[int]] = {}
        stops, encoded = [], []
        for number, request in enumerate(requests):
            sampling, count, until = _generation(request.args[1])
            encoded.append(self._prompt(self.tok_encode(request.args[0])))
            longest = len(encoded[-1]) + count
            self._check(longest)
            by_way.setdefault((sampling, count, self._least(longest)), []).append(number)
            stops.append(until)
        texts = [""] * len(stops)
        for (sampling, count, least), members in by_way.items():
            prompts = [encoded[i] for i in members]
            generated = generate(
                self._models[least],
                [np.array(prompt, np.int32) for prompt in prompts],
                sampling=sampling,
                max_tokens=count,
                seed=0,
                end_of_text=self.eot_token_id,
            )
            for i, prompt, tokens in zip(members, prompts, generated, strict=True):
                text = decode_behind(self._tokens, np.array(prompt), tokens)
                texts[i] = _cut(text, stops[i])
        return texts

    def _least(self, length: int) -> int:
        """The key of the model that runs a request of `length` tokens."""
        return next(least for least in self._models if length > least or not least)

    def _check(self, length: int) -> None:
        if length > self._longest:
            raise UserError(
                f"a request of {length:,} tokens is longer than --max_length={self._longest:,}; "
                "nothing is cut: raise it, or choose another task or fewer examples"
            )


def _generation(arguments: dict[str, Any]) -> tuple[Sampling, int, Sequence[str]]:
    """Sampling, number of tokens and stop texts that a task requests."""
    until = arguments.get("until") or []
    temperature = float(arguments.get("temperature") or 0.0)
    if not arguments.get("do_sample", temperature > 0):
        temperature = 0.0
    elif not temperature:
        temperature = 1.0
    sampling = Sampling(
        temperature, int(arguments.get("top_k") or 0), float(arguments.get("top_p") or 1.0)
    )
    count = int(arguments.get("max_gen_toks") or _MAX_NEW_TOKENS)
    return sampling, count, [until] if isinstance(until, str) else until


def _cut(text: str, until: Sequence[str]) -> str:
    """Text up to the first stop text."""
    ends = [text.find(stop) for stop in until if stop and stop in text]
    return text[: min(ends)] if ends else text
