"""Teacher-forced log-likelihoods of candidate answers, and greedy answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.eval.inference.cached_scorer import Continuation, score_continuations
from lengthwise.eval.inference.scorer import TargetScorer
from lengthwise.eval.prompts.prompt import Prompt
from lengthwise.eval.statistics.curves import population


@dataclass(frozen=True)
class Outcomes:
    """Scores of P prompts with A answers each."""

    margin_PA: np.ndarray  # float64, nats by which the answer is likelier than the best distractor
    greedy_PA: np.ndarray  # bool: each of its tokens is the likeliest one
    chance_PA: np.ndarray  # float64, probability that a guess among the candidates is right

    @property
    def right_PA(self) -> np.ndarray:
        """Whether the answer is likelier than every distractor; a tie is wrong."""
        return self.margin_PA > 0


def score_prompts(
    scorer: TargetScorer,
    prompts: Sequence[Prompt],
    length: int,
    *,
    pad: int,
    tokens_per_call: int,
    gap: int = 0,
) -> Outcomes:
    """Scores every candidate of every part; see `score_continuations`.

    length: inputs of a row, that no prompt is longer than. gap: position ids by which the question
    and all behind it are moved away from the context.
    """
    scored = score_continuations(
        scorer,
        [prompt.tokens for prompt in prompts],
        [
            [
                np.concatenate([part.lead, candidate])
                for part in prompt.parts
                for candidate in part.candidates
            ]
            for prompt in prompts
        ],
        length,
        pad=pad,
        tokens_per_call=tokens_per_call,
        positions=[_moved(prompt, length, gap) for prompt in prompts] if gap else None,
    )
    margins, greedies, chances = [], [], []
    for prompt, continuations in zip(prompts, scored, strict=True):
        each = iter(continuations)
        for part in prompt.parts:
            behind = part.lead.size
            answer, *wrong = (next(each) for _ in part.candidates)
            margins.append(min(_nats(one, behind) for one in wrong) - _nats(answer, behind))
            greedies.append(answer.likeliest[behind:].all())
            chances.append(1 / (1 + len(wrong)))
    shape = len(prompts), len(prompts[0].parts)
    return Outcomes(
        np.reshape(margins, shape), np.reshape(greedies, shape), np.reshape(chances, shape)
    )


def fingerprint(prompts: Sequence[Prompt], length: int, gap: int) -> str:
    """Fingerprint of what `score_prompts` computes: equal ones have equal outcomes by a scorer."""
    arrays = [
        array
        for prompt in prompts
        for array in (prompt.tokens, *(x for p in prompt.parts for x in (p.lead, *p.candidates)))
    ]
    questions = [prompt.question_at for prompt in prompts] if gap else []
    parts = [[len(part.distractors) for part in prompt.parts] for prompt in prompts]
    return population(length, gap, questions, parts, *arrays)


def generate_answers(scorer: TargetScorer, prompts: Sequence[Prompt]) -> np.ndarray:
    """[P] share of each prompt's answers that greedy decoding generates behind it.

    As many tokens are generated as the right answers take with what stands between them, so that
    naming everything does not help.
    """
    size = max(prompt.size - prompt.tokens.size for prompt in prompts)
    texts = scorer.generate([prompt.tokens for prompt in prompts], size)
    return np.array(
        [
            np.mean([_occurs(part.answer, text) for part in prompt.parts])
            for prompt, text in zip(prompts, texts, strict=True)
        ]
    )


def _occurs(answer: np.ndarray, text: np.ndarray) -> bool:
    if answer.size > text.size:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(text, answer.size)
    return bool((windows == answer).all(axis=1).any())


def _nats(continuation: Continuation, behind: int) -> float:
    return float(continuation.nats[behind:].sum(dtype=np.float64))


def _moved(prompt: Prompt, length: int, gap: int) -> np.ndarray:
    """[length] position ids, with the gap before the question."""
    positions = np.arange(length)
    positions[prompt.question_at :] += gap
    return positions
