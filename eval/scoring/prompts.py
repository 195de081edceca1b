"""Scorer of a long-input task: prompts and their controls at each length, teacher-forced."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.eval.inference.scorer import Method, TargetScorer
from lengthwise.eval.prompts.assemble import GENERATION, PromptMaker
from lengthwise.eval.prompts.candidates import (
    Outcomes,
    fingerprint,
    generate_answers,
    score_prompts,
)
from lengthwise.eval.prompts.prompt import (
    Control,
    DoesNotFit,
    Prompt,
    Prompting,
    PromptTask,
    Unaskable,
)
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.statistics.bootstrap import resampling, within_bounds
from lengthwise.eval.statistics.curves import Curve, Group, ScorerResult, population

Variant = Control | Prompting  # what a curve of a task is of
# Where answers are written. Behind the right steps of a scratchpad, steps would be skipped.
WRITTEN = (Control.PLAIN, Prompting.FEW_SHOT)


class PromptScorer:
    """Scorer of one task, at every length that its prompts fit.

    Raises UserError: it fits no length, or the tokenizer has no text; Unaskable: none of its own.
    """

    def __init__(self, task: PromptTask, bench: Bench, maker: PromptMaker):
        config = bench.config
        self.name = task.name
        self._task, self._bench, self._maker = task, bench, maker
        why = {n: maker.misfit(task, n, config.prompts, config.seed) for n in bench.lengths}
        self.lengths = tuple(n for n, reason in why.items() if reason is None)
        if not self.lengths:
            at_most = why[max(why)]
            if isinstance(at_most, Unaskable):
                raise at_most
            advice = (
                "; leave it out or raise eval.ratios" if isinstance(at_most, DoesNotFit) else ""
            )
            raise UserError(f"eval.tasks, {task.name}: {at_most}{advice}")
        self.left_out = [f"{task.name} at {n} tokens: {why[n]}" for n in why if why[n] is not None]
        prompting = tuple(Prompting(name) for name in config.prompting)
        controls = task.controls if bench.controls else (Control.PLAIN,)
        self._variants: tuple[Variant, ...] = (*controls, *prompting)
        if bench.why_no_positions or bench.l_train not in self.lengths:
            self._variants = tuple(v for v in self._variants if v != Control.FAR_POSITIONS)
            if Control.FAR_POSITIONS in controls:
                self.left_out.append(
                    f"{task.name} with far position ids: "
                    + (bench.why_no_positions or f"no prompt fits {bench.l_train} tokens")
                )

    @property
    def rows(self) -> tuple[int, ...]:
        """Lengths of the rows that are scored."""
        cut = {self._bench.l_train, self._question_row}
        return tuple(sorted({*self.lengths, *cut}))

    @property
    def _question_row(self) -> int:
        """Length of the rows that hold questions without a context: a power of two."""
        config = self._bench.config
        longest = 1
        for length in self.lengths:
            prompts = self._maker.prompts(
                self._task, length, config.prompts, config.seed, Control.NO_CONTEXT
            )
            longest = max(longest, *(prompt.size - 1 for prompt in prompts))
        return 1 << (longest - 1).bit_length()

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        """Scores each method, control and way of prompting; the gains by the last are sentences."""
        curves: list[Curve] = []
        sentences: list[str] = []
        left_out = list(self.left_out)
        total = len(methods) * len(self._variants) * len(self.lengths)
        short = self._question_row
        # Methods share scorers, and controls of short prompts are those prompts.
        scored: dict[tuple[TargetScorer, str], Outcomes] = {}
        with ProgressBar(total=total, desc=f"scoring {self.name}", unit="cell") as progress:
            for method in methods:
                outcomes: dict[Variant, dict[int, Outcomes]] = {}
                for variant in self._variants:
                    begin = time.perf_counter()
                    outcomes[variant] = {}
                    for length in self.lengths:
                        progress.update()
                        try:
                            at_length = self._outcomes(method, variant, length, short, scored)
                        except UserError as error:
                            left_out.append(f"{self.name}, {variant}, at {length} tokens: {error}")
                        else:
                            outcomes[variant][length] = at_length
                    if outcomes[variant]:
                        seconds = time.perf_counter() - begin
                        curves += self._curves(method, variant, outcomes[variant], seconds)
                    if self._bench.config.generate and variant in WRITTEN:
                        try:
                            curves.append(self._written(method, variant, tuple(outcomes[variant])))
                        except UserError as error:
                            left_out.append(f"{self.name}, {variant}, written: {error}")
                    if isinstance(variant, Prompting):
                        sentences += self._gains(
                            method, variant, outcomes[variant], outcomes[Control.PLAIN]
                        )
        return ScorerResult(tuple(curves), sentences=tuple(sentences), left_out=tuple(left_out))

    def _outcomes(
        self,
        method: Method,
        variant: Variant,
        length: int,
        short: int,
        scored: dict[tuple[TargetScorer, str], Outcomes],
    ) -> Outcomes:
        """Outcomes of a cell. scored: those of earlier ones, by scorer and rows."""
        context, gap, row = length, 0, length
        if variant == Control.FAR_POSITIONS:
            row = min(length, self._bench.l_train)
            gap = length - row
            prompts = self._prompts(row, Control.PLAIN)
        else:
            prompts = self._prompts(length, variant)
        if variant == Control.NO_CONTEXT:
            context = row = short
        elif variant == Control.TRUNCATED:
            context = row = min(length, self._bench.l_train)
        scorer = method.scorer_at(context)
        key = scorer, fingerprint(prompts, row, gap)
        if key not in scored:
            scored[key] = score_prompts(
                scorer,
                prompts,
                row,
                pad=self._bench.pad,
                tokens_per_call=self._bench.config.tokens_per_call,
                gap=gap,
            )
        return scored[key]

    def _prompts(self, length: int, variant: Variant) -> list[Prompt]:
        config = self._bench.config
        by_prompting = isinstance(variant, Prompting)
        return self._maker.prompts(
            self._task,
            length,
            config.prompts,
            config.seed,
            Control.PLAIN if by_prompting else Control(variant),
            Prompting(variant) if by_prompting else Prompting.DIRECT,
        )

    def _curves(
        self, method: Method, variant: Variant, by_length: dict[int, Outcomes], seconds: float
    ) -> list[Curve]:
        """Accuracy, greedy answers and margin. A unit is a prompt, whose parts are its trials."""
        prompts, parts = next(iter(by_length.values())).right_PA.shape
        counts_NK = np.full((prompts, len(by_length)), float(parts))
        shared = self._shared(method, variant, tuple(by_length), counts_NK)

        def sums(what: str) -> np.ndarray:
            return np.stack(
                [getattr(each, what).sum(axis=1, dtype=np.float64) for each in by_length.values()],
                axis=1,
            )

        chance_K = np.array([each.chance_PA.mean() for each in by_length.values()])
        return [
            Curve.of_share(
                sums_NK=sums("right_PA"),
                chance_K=chance_K,
                seconds=seconds,
                **shared,
            ),
            Curve.of_share(
                metric="greedy",
                primary=False,
                sums_NK=sums("greedy_PA"),
                # One in a vocabulary to the power of the answer's size.
                chance_K=np.zeros(len(by_length)),
                **shared,
            ),
            Curve.of_share(
                metric="margin", unit="nats", primary=False, sums_NK=sums("margin_PA"), **shared
            ),
        ]

    def _shared(
        self, method: Method, variant: Variant, lengths: tuple[int, ...], counts_NK: np.ndarray
    ) -> dict[str, Any]:
        """Fields that all curves of a variant have in common."""
        task, config = self._task, self._bench.config
        return {
            "scorer": task.name,
            "group": Group.SYNTHESIS if task.scope == "high" else Group.RETRIEVAL,
            "method": method.name,
            "control": str(variant),
            "lengths": lengths,
            "counts_NK": counts_NK,
            "population": population(
                task.name,
                GENERATION,
                config.seed,
                config.prompts,
                self._bench.tokenizer.describe(),
                *self._bench.start.prefix.tolist(),
            ),
            "dispersion": task.dispersion,
            "scope": task.scope,
        }

    def _written(self, method: Method, variant: Variant, lengths: tuple[int, ...]) -> Curve:
        """Curve of the answers that greedy decoding writes."""
        right_NK = np.stack(
            [
                generate_answers(method.scorer_at(length), self._prompts(length, variant))
                for length in lengths
            ],
            axis=1,
        )
        return Curve.of_share(
            metric="written",
            primary=False,
            sums_NK=right_NK,
            chance_K=np.zeros(len(lengths)),
            **self._shared(method, variant, lengths, np.ones_like(right_NK)),
        )

    def _gains(
        self,
        method: Method,
        prompting: Prompting,
        by_length: dict[int, Outcomes],
        plain: dict[int, Outcomes],
    ) -> list[str]:
        """Paired gains by a way of prompting at each length, as sentences."""
        config = self._bench.config
        sentences = []
        for length, outcomes in by_length.items():
            change_P1 = (outcomes.right_PA - plain[length].right_PA.astype(float)).mean(
                axis=1, keepdims=True
            )
            (gain,) = within_bounds(
                change_P1,
                np.ones_like(change_P1),
                np.arange(len(change_P1)),
                (-1.0, 1.0),
                **resampling(config),
            ).estimates()
            verdict = "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "inconclusive"
            sentences.append(
                f"{self.name} ({method.name}) at {length} tokens, {prompting}: "
                f"{gain.value:+.0%} [{gain.low:+.0%}, {gain.high:+.0%}] right answers, {verdict}"
            )
        return sentences
