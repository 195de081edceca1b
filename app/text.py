"""A run on text: scored by losses and by what it finds in long inputs; report and card."""

import dataclasses
import time
from typing import Any

from tqdm import tqdm

from lengthwise.app.session import Session
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.configs.resolve import Experiment
from lengthwise.data.schedule.exposure import total_exposure
from lengthwise.data.store.splits import Split
from lengthwise.eval.card.contestants import load_beside
from lengthwise.eval.config import EvalConfig, tested_contexts
from lengthwise.eval.inference.dry_run import DryModel
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.scorer import ScorerFactory, Setting
from lengthwise.eval.losses.curve_file import Evaluation
from lengthwise.eval.losses.evaluate import SelectionProbe, evaluate
from lengthwise.eval.losses.methods import chosen_methods, every_setting, without_rope
from lengthwise.eval.losses.results import Results, save_results
from lengthwise.eval.losses.targets import choose_targets
from lengthwise.eval.report.card.page import write_card
from lengthwise.eval.report.run.report import ReportInputs, write_report
from lengthwise.eval.report.run.wording import headline
from lengthwise.eval.report.training_log import run_seconds
from lengthwise.eval.scorers.bench import Bench
from lengthwise.eval.scorers.complexity import complexity
from lengthwise.eval.scorers.registry import make_scorers
from lengthwise.eval.scorers.scheduled import ScheduledScorers
from lengthwise.eval.statistics.curves import Scored
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.start import checked_host
from lengthwise.train.machine.processes import first
from lengthwise.train.machine.workdir import training_fingerprint
from lengthwise.train.rules.anomaly import AnomalyRules


class TextSession(Session):
    """A `Session` whose corpus is text."""

    def _prepare_scoring(self, experiment: Experiment) -> None:
        """What is scored and by which programs; raises UserError where it can't be."""
        store = self.store
        self.contexts = tested_contexts(experiment.eval, self.phases.l_train)
        self.eval, self.left_out = self._without_what_needs_rope(experiment.eval)
        self.beside = load_beside(
            self.eval.compare,
            self.workdir,
            training_fingerprint(experiment.resolved),
            experiment.resolved["seed"],
            store.manifest.corpus_fingerprint,
        )
        # Before hours of training, not after: too few long documents is an error here.
        self.probe = SelectionProbe(self.store, self.phases.l_train, self.eval)
        choose_targets(self.store, Split.REPORT, self.contexts[-1], self.eval)
        bench = Bench(
            source=store,
            tokenizer=store.tokenizer(),
            config=self.eval,
            l_train=self.phases.l_train,
            lengths=self.contexts,
            fingerprint=store.manifest.corpus_fingerprint,
            why_no_positions=self._why_no_positions,
        )
        self.scorers = make_scorers(bench)
        self.scheduled = ScheduledScorers(bench, experiment.train.stopping.score)
        # That there are positions for each context, and a backend for each method.
        for context, setting in every_setting(self.eval, self.phases.l_train, self.contexts):
            experiment.train.model.resolve(
                self.setup.vocab_size,
                self.setup.platform,
                context,
                setting.mask,
                setting.scaling,
                row_devices=self._row_devices(context),
            )
        if self._joins_documents:
            l_train = self.phases.l_train
            devices = self._row_devices(l_train)
            experiment.train.model.resolve(
                self.setup.vocab_size,
                self.setup.platform,
                l_train,
                segmented=True,
                row_devices=devices,
            )
        self.inference = self._inference(self.contexts[-1])
        trained = self.phases.phases[-1].config.rope_scaling
        for context, setting in every_setting(self.eval, self.phases.l_train, self.contexts):
            if self.inference.batching.chunked(context):
                self.inference.row_kind(context, setting, trained)

    def _without_what_needs_rope(self, config: EvalConfig) -> tuple[EvalConfig, tuple[str, ...]]:
        """The settings of scoring without the methods that have no meaning for the model, and what
        was left out and why."""
        if any(scheme.scalable for scheme in self.model.schemes):
            return config, ()
        methods = without_rope(config.methods)
        dropped = [name for name in config.methods if name not in methods]
        why = (f"eval.methods {', '.join(dropped)}: they need RoPE",) if dropped else ()
        asked = tuple(name for name in config.scorer_methods if name in methods)
        return dataclasses.replace(config, methods=methods, scorer_methods=asked), why

    @property
    def _why_no_positions(self) -> str:
        """Why a prompt can't be scored with position ids of another length; empty: it can."""
        if not any(scheme.reads_positions for scheme in self.model.schemes):
            return f"{self.model.position_scheme} reads no position ids"
        if not all(scheme.beyond_span for scheme in self.model.schemes):
            return f"{self.model.position_scheme} has no position ids beyond a row's length"
        randomized = self.experiment.train.model.positions.randomized
        return "position ids are drawn at random" if randomized else ""

    def _row_devices(self, context: int) -> int:
        """Devices that share a row of the scorer's batches of a length."""
        rows = max(1, self.eval.tokens_per_call // context)
        return self.setup.data_sharding(rows, context).mesh.shape["context"]

    def _exposure(self, step: int, anomalies: dict[str, Any] | None) -> dict[str, Any]:
        """Trained targets by context after `step` steps, for exposure.json."""
        rules = AnomalyRules(self.experiment.train.anomaly)
        rules.restore(anomalies)
        phases = self.phases.exposure(step, rules)
        return {
            "l_train": self.phases.l_train,
            "phases": [
                {"layout": phase.layout.accounting.layout, **each.as_dict()}
                for phase, each in zip(self.phases.phases, phases, strict=False)
            ],
            "total": total_exposure(phases).as_dict(),
        }

    @property
    def _joins_documents(self) -> bool:
        """Whether the longest rows that were trained on last may hold several documents."""
        phase = self.phases.phases[-1]
        config, longest = phase.config.layout, phase.layout.buckets[max(phase.lengths)]
        alone = config.name == "pad" or config.tails != "pack"
        return not alone and (phase.layout.joined or longest.segmented)

    def _probe(self, params: object, step: int) -> dict[str, Any]:
        """The selection split's scores for metrics.jsonl."""
        start = time.perf_counter()
        model = BoundModel(self.inference, params, self.phases.scaling_after(step))
        record = self.probe.record(self.probe.rows(model, self._identity(step)))
        scores = self.scheduled.figures(model)
        return {
            **record,
            "scores": scores,
            "stopping_score": self.scheduled.judged(record["score"], scores),
            "l_train": self.phases.l_train,
            "position_scheme": self.model.position_scheme,
            "corpus_fingerprint": self.store.manifest.corpus_fingerprint,
            "seconds": time.perf_counter() - start,
        }

    def _compile_scoring(self) -> None:
        """Every executable of the scores, during training and after."""
        l_train = self.phases.l_train
        trained = {phase.config.rope_scaling for phase in self.phases.phases}
        rows = {row for scorer in self.scorers for row in scorer.rows}
        settings = every_setting(self.eval, l_train, sorted({*self.contexts, *rows}))
        wanted = [(*pair, scaling) for scaling in trained for pair in settings]
        for length, setting, scaling in tqdm(wanted, desc="compiling scores", unit="shape"):
            self.inference.prepare(length, setting, scaling)
        for scaling in trained:
            self.scheduled.figures(DryModel(self.inference, scaling))
        if self._joins_documents:
            for scaling in trained:
                program = self.inference.score_rows(l_train, Setting(), scaling, segmented=True)
                self.inference.programs.get(program)

    def score_checkpoint(self, checkpoints: Checkpoints) -> None:
        """Scores a checkpoint on the report split and writes results and report."""
        step = self._step_to_score(checkpoints)
        host = checked_host(self.setup, checkpoints, step)
        params = checkpoints.restore_params(step, self.setup.abstract_params)
        model = BoundModel(self.inference, params, self.phases.scaling_after(step))
        start = time.perf_counter()
        try:
            results = evaluate(
                self.store,
                model,
                self._identity(step),
                self.eval,
                self.store.manifest.domains,
                model.by_document if self._joins_documents else None,
                reads_positions=any(scheme.reads_positions for scheme in self.model.schemes),
            )
            asked = self._run_scorers(model, results.multipliers)
            results = dataclasses.replace(results, left_out=(*self.left_out, *results.left_out))
        except FloatingPointError as error:
            raise UserError(
                f"{error} in the scores of checkpoint {step}; score another with "
                "--config.eval.checkpoint=best or train with a lower optimizer.learning_rate"
            ) from error
        scoring = time.perf_counter() - start
        if not first():
            return
        save_results(results, self.workdir / "eval" / "results.json")
        exposure = self._exposure(step, host.get("anomalies"))
        write_json(self.workdir / "exposure.json", exposure)
        inputs = self._report_inputs(results, exposure)
        page = write_report(self.workdir, inputs)
        for line in headline(results):
            print(line)
        print(f"report: {page}")
        evaluation = Evaluation(
            name=inputs.title,
            seed=self.experiment.resolved["seed"],
            training=training_fingerprint(self.experiment.resolved),
            identity=self._identity(step),
            length_p95=exposure["total"]["length_p95"],
            targets_by_length=dict(
                zip(
                    exposure["total"]["context"],
                    exposure["total"]["targets_by_length"],
                    strict=True,
                )
            ),
            scored=Scored(
                (*results.curves, *asked.curves),
                asked.grids,
                asked.said,
                (*results.left_out, *asked.left_out),
            ),
            seconds={**run_seconds(inputs.metrics), "scoring": scoring},
        )
        for line in write_card(self.workdir, [evaluation, *self.beside], self.eval):
            print(line)

    def _run_scorers(self, model: ScorerFactory, chosen: dict[str, float]) -> Scored:
        """What eval.scorers and eval.tasks name; prints what no curve says. chosen: multipliers."""
        names, l_train = self.eval.scorer_methods, self.phases.l_train
        methods = chosen_methods(names, chosen, self.eval, l_train, model)
        found = [scorer(methods) for scorer in self.scorers]
        curves = tuple(curve for each in found for curve in each.curves)
        said = [said for each in found for said in each.said]
        asked = Scored(
            curves,
            tuple(grid for each in found for grid in each.grids),
            (*said, *complexity(curves, l_train, self.eval)),
            tuple(why for each in found for why in each.left_out),
        )
        for line in asked.said:
            print(line)
        return asked

    def _report_inputs(self, results: Results, exposure: dict[str, Any]) -> ReportInputs:
        return ReportInputs(**vars(self._run_inputs()), exposure=exposure, results=results)
