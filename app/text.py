"""Scoring of a run on text: losses, tasks on long inputs, report and card."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthwise.app.provenance import provenance
from lengthwise.app.scoring import Checkpoint, Subject
from lengthwise.app.text_results import exposure_of, write_in_range
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_figures
from lengthwise.common.progress import ProgressBar
from lengthwise.configs.base import RunConfig
from lengthwise.configs.saved_config import training_fingerprint
from lengthwise.eval.card.contestants import load_others
from lengthwise.eval.config import EvalConfig, targets_per_row
from lengthwise.eval.inference.dry_run import dry_model
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.scorer import ScorerFactory, Setting
from lengthwise.eval.losses.curve_file import Evaluation
from lengthwise.eval.losses.evaluate import SelectionProbe, evaluate
from lengthwise.eval.losses.methods import (
    check_methods,
    chosen_methods,
    every_setting,
    without_rope,
)
from lengthwise.eval.losses.results import Results, save_results
from lengthwise.eval.losses.scorable import scorable
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.complexity import complexity
from lengthwise.eval.scoring.factory import LeftOut, finite_scores, make_scorers
from lengthwise.eval.scoring.scheduled import ScheduledScorers
from lengthwise.eval.statistics.curves import ScorerResult
from lengthwise.train.machine.processes import is_first_process
from lengthwise.train.rules.score import stopping_score

if TYPE_CHECKING:
    from lengthwise.eval.report.run.run_page import RunInputs


class TextScoring:
    """The `Scoring` of a run on text."""

    def __init__(self, subject: Subject):
        """Raises UserError: contexts or methods that the model can't be run at, scorers that these
        settings don't serve, a score to stop by that can't be had."""
        self._subject = subject
        experiment, store, l_train = subject.experiment, subject.store, subject.l_train
        config, self.left_out = self._applicable(experiment.eval)
        check_methods(config, l_train)
        reach = scorable(store, config, l_train)
        self.config, self.contexts = reach.config, reach.contexts
        self.left_out += tuple(map(str, reach.left_out))
        self._selection = SelectionProbe(store, l_train, config) if reach.selection else None
        self._probed = reach.selection
        if self._selection is None and experiment.stopping.patience:
            raise UserError(
                f"stopping.patience={experiment.stopping.patience} needs scores during training, "
                "which this corpus has no text for; set it to 0",
                advice={"stopping.patience": 0},
            )
        bench = Bench(
            source=store,
            tokenizer=store.tokenizer(),
            config=self.config,
            l_train=l_train,
            lengths=self.contexts,
            fingerprint=subject.scored_text,
            why_no_positions=self._why_no_positions,
            start_token=subject.start_token,
        )
        self._scorers = make_scorers(bench)
        self._scheduled = ScheduledScorers(bench)
        unaskable = {each.name: each.reason for each in self._scorers if isinstance(each, LeftOut)}
        self.left_out += tuple((self._scheduled.left_out | unaskable).values())
        self._stopping_score = stopping_score(experiment.stopping)
        if self._selection:
            self._stopping_score.check(self._scheduled.names)
        longest = max((*self.contexts, *self._probed), default=l_train)
        self.inference = subject.inference(self.config, longest=longest)
        self._check_programs()
        self._others: list[Evaluation] = []

    def _check_programs(self) -> None:
        """Checks for positions at each context, and a backend for each method."""
        inference, l_train = self.inference, self._subject.l_train
        trained = self._subject.phases.phases[-1].config.rope_scaling
        settings = every_setting(self.config, l_train, (*self.contexts, *self._probed))
        whole = [(context, setting, False) for context, setting in settings]
        if self._joins_documents and l_train in self.contexts:
            whole.append((l_train, Setting(), True))
        for context, setting, segmented in whole:
            inference.check_rows(context, setting, segmented=segmented)
        for context, setting in settings:
            if inference.batching.chunked(context):
                inference.row_kind(context, setting, trained)

    @classmethod
    def check(cls, experiment: RunConfig) -> None:
        """See `Scoring`; most settings for text need their corpus to be checked."""
        stopping_score(experiment.stopping)

    def compare_with_others(self, workdir: Path) -> None:
        """See `Scoring`."""
        resolved = self._subject.experiment.resolved
        self._others = load_others(
            self.config.compare,
            workdir,
            training_fingerprint(resolved),
            resolved["seed"],
            self._subject.store.manifest.corpus_fingerprint,
            self._subject.store.manifest.token_meaning,
        )

    def _applicable(self, config: EvalConfig) -> tuple[EvalConfig, tuple[str, ...]]:
        """Drops methods that need RoPE where the model has none; returns the rest and reasons."""
        if any(scheme.scalable for scheme in self._subject.model.schemes):
            return config, ()
        methods = without_rope(config.methods)
        dropped = [name for name in config.methods if name not in methods]
        why = (f"eval.methods {', '.join(dropped)}: they need RoPE",) if dropped else ()
        remaining = tuple(name for name in config.scorer_methods if name in methods)
        return dataclasses.replace(config, methods=methods, scorer_methods=remaining), why

    @property
    def _why_no_positions(self) -> str:
        """Reason against position ids of another length than the prompt's; empty: there is none."""
        model = self._subject.model
        if not any(scheme.reads_positions for scheme in model.schemes):
            return f"{model.position_scheme} reads no position ids"
        if not all(scheme.beyond_span for scheme in model.schemes):
            return f"{model.position_scheme} has no position ids beyond a row's length"
        randomized = self._subject.experiment.model.positions.randomized
        return "position ids are drawn at random" if randomized else ""

    @property
    def _joins_documents(self) -> bool:
        """Whether the longest rows that were trained on last may hold several documents."""
        phase = self._subject.phases.phases[-1]
        return phase.layout.joined or phase.layout.buckets[max(phase.lengths)].segmented

    @property
    def probes(self) -> bool:
        """See `Scoring`."""
        return self._selection is not None

    def probe(self, params: object, step: int) -> dict[str, Any]:
        """See `Scoring`."""
        assert self._selection
        start = time.perf_counter()
        subject = self._subject
        model = BoundModel(self.inference, params, subject.phases.scaling_after(step))
        record = self._selection.record(self._selection.rows(model, subject.identity(step)))
        scores = self._scheduled.figures(model)
        return {
            **record,
            "scores": scores,
            "stopping_score": self._stopping_score.of({**record, "scores": scores}),
            "l_train": subject.l_train,
            "position_scheme": subject.model.position_scheme,
            "corpus_fingerprint": subject.store.manifest.corpus_fingerprint,
            "seconds": time.perf_counter() - start,
        }

    def compile(self) -> None:
        """See `Scoring`."""
        l_train, trained = self._subject.l_train, self._subject.trained_scalings
        settings = every_setting(self.config, l_train, (*self.contexts, *self._probed))
        passes: list[tuple[int, Setting, int | None]]
        passes = [(n, each, targets_per_row(self.config, n, l_train)) for n, each in settings]
        # Rows whose targets are all scored: openings of documents, and those of the scorers.
        beyond = self.contexts[-1:] if max(self.contexts, default=0) > l_train else ()
        whole = {*beyond, *(row for scorer in self._scorers for row in scorer.rows)}
        settings = every_setting(self.config, l_train, sorted(whole))
        passes += [(n, each, None) for n, each in settings]
        programs = [(*each, scaling) for scaling in trained for each in passes]
        bar = ProgressBar(programs, desc="compiling scores", unit="shape")
        for length, setting, last, scaling in bar:
            self.inference.prepare(length, setting, scaling, last)
        for scaling in trained:
            self._scheduled.figures(dry_model(self.inference, scaling))
            if self._joins_documents and l_train in self.contexts:
                self.inference.prepare(l_train, Setting(), scaling)
                program = self.inference.score_rows(l_train, Setting(), scaling, segmented=True)
                self.inference.programs.get(program)

    def scores(self, checkpoint: Checkpoint) -> tuple[Results, ScorerResult]:
        """Scores the report split: losses, then eval.scorers and eval.tasks; what is not finite is
        left out.

        Raises UserError: the plain model's losses are not finite, without which nothing is.
        """
        subject, step = self._subject, checkpoint.step
        scaling = subject.phases.scaling_after(step)
        model = BoundModel(self.inference, checkpoint.params, scaling)
        try:
            results = evaluate(
                subject.store,
                model,
                subject.identity(step),
                self.config,
                subject.store.manifest.domains,
                model.by_document if self._joins_documents else None,
                reads_positions=any(scheme.reads_positions for scheme in subject.model.schemes),
            )
        except FloatingPointError as error:
            raise UserError(
                f"{error} in the scores of checkpoint {step}; score another with "
                "--config.eval.checkpoint=best or train with a lower optimizer.learning_rate"
            ) from error
        others = self._run_scorers(model, results)
        for reason in dict.fromkeys((*results.left_out, *others.left_out)):
            if reason not in self.left_out:  # which the start has told
                print(f"note: left out: {reason}")
        left_out = (*self.left_out, *results.left_out)
        return dataclasses.replace(results, left_out=left_out), others

    def report(self, checkpoint: Checkpoint, workdir: Path, run: Callable[[], RunInputs]) -> None:
        """See `Scoring`: results.json, exposure.json, report and card; the last two where there is
        text beyond the training length."""
        if not self.contexts or self.contexts[-1] <= self._subject.l_train:
            results = self.scores(checkpoint)[0] if self.contexts else None
            if is_first_process():
                write_in_range(self._subject, checkpoint, results, workdir)
            return
        # Here, so that nothing that draws is imported by a run before it draws.
        from lengthwise.eval.report.card.facts import card_facts
        from lengthwise.eval.report.card.page import write_card
        from lengthwise.eval.report.run.report import ReportInputs, write_report
        from lengthwise.eval.report.run.wording import headline
        from lengthwise.eval.report.training_log import run_seconds

        start = time.perf_counter()
        results, others = self.scores(checkpoint)
        seconds = time.perf_counter() - start
        if not is_first_process():
            return
        save_results(results, workdir / "eval" / "results.json")
        exposure = exposure_of(self._subject, checkpoint)
        write_figures(workdir / "exposure.json", exposure)
        inputs = ReportInputs(**vars(run()), exposure=exposure, results=results)
        for line in headline(results):
            print(line)
        if inputs.metrics:  # which there is none of where nothing was trained
            print(f"report: {write_report(workdir, inputs)}")
        trained = run_seconds(inputs.metrics) if inputs.metrics else {}
        total, resolved = exposure["total"], self._subject.experiment.resolved
        evaluation = Evaluation(
            name=inputs.title,
            seed=resolved["seed"],
            training=training_fingerprint(resolved),
            identity=self._subject.identity(checkpoint.step),
            tokens=self._subject.store.manifest.token_meaning,
            # Of weights from elsewhere nobody knows the lengths.
            length_p95=total["length_p95"] or self._subject.l_train,
            targets_by_length=dict(zip(total["context"], total["targets_by_length"], strict=True)),
            scored=ScorerResult(
                (*results.curves, *others.curves),
                others.grids,
                others.sentences,
                (*results.left_out, *others.left_out),
            ),
            seconds={**trained, "scoring": seconds},
            facts=card_facts(inputs, provenance()),
        )
        for line in write_card(workdir, [evaluation, *self._others], self.config):
            print(line)

    def _run_scorers(self, model: ScorerFactory, losses: Results) -> ScorerResult:
        """Runs eval.scorers and eval.tasks by the methods whose losses are there, and prints their
        sentences."""
        scored, l_train = {curve.method for curve in losses.curves}, self._subject.l_train
        names = [name for name in self.config.scorer_methods if name in scored]
        methods = chosen_methods(names, losses.multipliers, self.config, l_train, model)
        results = [finite_scores(scorer, methods) for scorer in self._scorers]
        curves = tuple(curve for each in results for curve in each.curves)
        sentences = [sentence for each in results for sentence in each.sentences]
        merged = ScorerResult(
            curves,
            tuple(grid for each in results for grid in each.grids),
            (*sentences, *complexity(curves, l_train, self.config)),
            tuple(reason for each in results for reason in each.left_out),
        )
        for line in merged.sentences:
            print(line)
        return merged
