"""Session: one run of training or scoring, which wires data, model, train and eval.

Modules that one of the two alone needs, or the report, are imported where they are used: a start
waits for no other.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from lengthwise.app.checkpoint import scored_checkpoint
from lengthwise.app.scoring import Scoring, Subject
from lengthwise.common.files import write_json
from lengthwise.configs.base import RunConfig
from lengthwise.configs.saved_config import claim_config
from lengthwise.data.batches.pipeline import where_read
from lengthwise.data.schedule.epochs import epochs_text, repetition_notes
from lengthwise.data.store.token_store import TokenStore
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.flops import parameter_count
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.machine.compilation_cache import enable_compilation_cache
from lengthwise.train.machine.devices import platform
from lengthwise.train.machine.peak import device_peak, machine_facts
from lengthwise.train.machine.processes import first_alone, is_first_process
from lengthwise.train.machine.signals import STATUS
from lengthwise.train.metrics.writer import read_rows
from lengthwise.train.phases import Phases
from lengthwise.train.programs.execution import PLAN, plan_fingerprint, planned_executions
from lengthwise.train.programs.setup import Setup, check_settings
from lengthwise.train.rules.anomaly import AnomalyRules

if TYPE_CHECKING:
    from lengthwise.app.task import TaskScoring
    from lengthwise.app.text import TextScoring
    from lengthwise.eval.report.run.run_page import RunInputs
    from lengthwise.train.loop.state import TrainingRun


class Session:
    """One run of `train` or `eval` in a locked work directory."""

    def __init__(
        self, experiment: RunConfig, store: TokenStore, workdir: Path, *, follows_plan: bool
    ):
        """follows_plan: buckets are computed as plan.json of the work directory says, if any."""
        self.experiment = experiment
        self.workdir = workdir
        self.store = store
        self.phases = first_alone(
            lambda: Phases(
                experiment.phases,
                self.store,
                experiment.resolved_seeds,
                workdir,
                verify=experiment.data.verify,
            )
        )
        # Before anything is compiled.
        print(enable_compilation_cache(experiment.train.compilation_cache, workdir))
        machine = jax.devices()
        planned = None
        if follows_plan:
            fingerprint = plan_fingerprint(experiment, store.manifest.vocab_size, len(machine))
            planned = planned_executions(workdir / PLAN, self.phases.phases, fingerprint)
        if planned is not None:
            print(f"plan: {workdir / PLAN} says how each bucket is computed")
        self.setup = Setup(experiment, self.phases, machine, planned)
        self.model = self.setup.blueprint.model
        subject = Subject(experiment, store, self.phases, self.setup)
        self.scoring: Scoring = scoring_of(experiment)(subject)
        self.scoring.compare_with_others(workdir)
        self._describe()
        self.peak = device_peak(jax.local_devices()[0], self.model.compute_dtype)

    @staticmethod
    def check(experiment: RunConfig) -> None:
        """Raises UserError for settings that no corpus can put right."""
        check_settings(experiment, platform())
        scoring_of(experiment).check(experiment)

    def _describe(self) -> None:
        """Prints layouts, buckets, attention and model, before anything is compiled."""
        blueprint = self.setup.blueprint
        for reason in self.scoring.left_out:
            print(f"note: left out: {reason}")
        for note in self.experiment.schedule_notes():
            print(f"note: {note}")
        manifest = self.store.manifest
        shares = self.setup.planned_shares()
        for phase in self.phases.phases:
            of = [f"{share:.1%} of the {name}" for name, share in shares[phase.number].items()]
            taken = f", {', '.join(of)}" if len(shares) > 1 else ""
            print(f"phase {phase.number + 1}: {phase.config.steps:,} steps{taken}")
            if phase.layout.joined and manifest.begin_of_text == manifest.end_of_text:
                print("note: joined documents have their end of text and data.begin_with between")
            print(phase.layout.accounting.table())
            for line in phase.schedule.domain_shares:
                print(line)
            for note in phase.schedule.notes:
                print(f"note: {note}")
            for length in phase.lengths:
                mesh = blueprint.mesh((phase.number, length))
                backend, reason = self.model.backend(
                    length,
                    CAUSAL,
                    far=phase.config.rope_scaling.far is not None,
                    segmented=phase.layout.buckets[length].segmented,
                    row_devices=mesh.shape["context"],
                )
                batch = phase.batch_size(length)
                print(f"bucket {length}: batch {batch}, attention {backend} ({reason})")
        epochs = self._epochs(self.phases.total_steps)
        print(f"epochs of {self.phases.total_steps:,} steps: {epochs_text(epochs)}")
        for note in repetition_notes(epochs):
            print(f"note: {note}")
        print(where_read(self.experiment.train, self.store))
        devices = blueprint.devices
        print(
            f"model: {parameter_count(self.model):,} parameters, {self.model.compute_dtype}, "
            f"on {len(devices)} x {devices[0].device_kind}",
            flush=True,
        )

    def _epochs(self, steps: int) -> dict[str, float]:
        """Epochs of each domain in so many steps, none of them skipped."""
        return self.phases.epochs(steps, AnomalyRules(self.experiment.anomaly))

    def _layouts(self) -> list[dict[str, Any]]:
        return [phase.layout.accounting.as_dict() for phase in self.phases.phases]

    def _run_inputs(self) -> RunInputs:
        """Inputs of the report that any run has."""
        from lengthwise.eval.report.run.run_page import RunInputs

        manifest = self.store.manifest
        log = self.workdir / "metrics.jsonl"
        metrics = read_rows(log) if log.exists() else []  # weights as they are
        epochs = self._epochs(max((row["step"] for row in metrics), default=0))
        return RunInputs(
            title=self.workdir.resolve().name,
            config=self.experiment.resolved,
            metrics=metrics,
            layouts=self._layouts(),
            facts={
                "Corpus": {
                    "source": manifest.source,
                    "documents": manifest.num_documents,
                    "tokens": manifest.num_tokens,
                    "tokenizer": manifest.tokenizer,
                    "fingerprint": manifest.corpus_fingerprint,
                    "epochs": "; ".join([epochs_text(epochs), *repetition_notes(epochs)]),
                },
                "Model": {
                    "parameters": parameter_count(self.model),
                    "positions": self.model.position_scheme,
                    "compute": self.model.compute_dtype,
                },
                "Machine": machine_facts(self.peak),
            },
        )

    def score(self) -> int:
        """Scores the report split and writes the report."""
        with contextlib.closing(Checkpoints(self.workdir / "checkpoints")) as checkpoints:
            self.score_checkpoint(checkpoints)
        return 0

    def score_checkpoint(self, checkpoints: Checkpoints) -> None:
        """Scores and reports the checkpoint that eval.checkpoint names.

        Raises UserError: there is none.
        """
        checkpoint = scored_checkpoint(self.experiment, self.setup, checkpoints, self.workdir)
        self.scoring.report(checkpoint, self.workdir, self._run_inputs)
        if is_first_process():
            from lengthwise.app.tracking import track_scores

            track_scores(self.experiment.tracking, self.workdir, checkpoint.step)

    def train(self) -> int:
        """Trains to the end; returns the exit status."""
        with self._checkpoints() as checkpoints:
            return self._train(checkpoints)

    def train_and_score(self) -> int:
        """Trains to the end, then scores; returns the exit status."""
        with self._checkpoints() as checkpoints:
            status = self._train(checkpoints)
            if not status:
                self.score_checkpoint(checkpoints)
        return status

    def _checkpoints(self) -> contextlib.closing[Checkpoints]:
        keep_every = self.experiment.train.keep_every
        return contextlib.closing(Checkpoints(self.workdir / "checkpoints", keep_every=keep_every))

    def claim(self) -> None:
        """Only now: a config that can't be run must not own the directory."""
        if is_first_process():
            claim_config(self.workdir, self.experiment.resolved)
            write_json(self.workdir / "layouts.json", self._layouts())

    def training_run(self, checkpoints: Checkpoints) -> TrainingRun:
        """This run as training takes it."""
        from lengthwise.train.loop.state import TrainingRun

        return TrainingRun(
            self.setup,
            self.workdir,
            checkpoints,
            claim=self.claim,
            evaluate=self.scoring.probe if self.scoring.probes else None,
            prepare_evaluation=self.scoring.compile,
            peak_flops=self.peak.flops_per_second * len(self.setup.blueprint.devices),
        )

    def _train(self, checkpoints: Checkpoints) -> int:
        """Returns the exit status: 0, or that of a run ended by a signal."""
        from lengthwise.train.loop.start import train

        state = train(self.training_run(checkpoints))
        if state.reason in STATUS:
            print(
                f"{state.reason} at step {state.step}, checkpoint saved; "
                f"start again with --workdir={self.workdir} to go on"
            )
            return STATUS[state.reason]
        if state.reason == "early stopping":
            print(
                f"stopped early at step {state.step}: the score beyond the training length got "
                "worse while the training loss fell; the best checkpoint is "
                f"{checkpoints.best_step()}"
            )
        return 0


def scoring_of(experiment: RunConfig) -> type[TaskScoring] | type[TextScoring]:
    """The scoring for the corpus of the config."""
    if experiment.data.sources[0].source == "task":
        from lengthwise.app.task import TaskScoring

        return TaskScoring
    from lengthwise.app.text import TextScoring

    return TextScoring
