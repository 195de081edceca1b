"""What `main.py --mode` names: wires data, model, train and eval together."""

import functools
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from data.prepare import prepare
from data.token_store import TokenStore
from errors import UserError
from eval.model_scorer import ScoringExecutables
from eval.report import ReportInputs, write_report
from eval.results import Results, RunIdentity, save_results
from experiment import Experiment, load
from train.checkpoint import Checkpoints
from train.loop import Outcome
from train.metrics import read_rows
from train.peak import Peak, device_peak
from train.phases import Phases
from train.run import Setup, train
from train.workdir import claim_config, locked, read_config, write_json

TERMINATED_STATUS = 143  # 128 + SIGTERM


def run(mode: str, config: ConfigDict, workdir: str) -> int:
    """Runs one mode in `workdir`; returns the exit status.

    Raises:
      UserError: what the user can put right.
    """
    directory = Path(workdir)
    with locked(directory):
        experiment = load(config, read_config(directory))
        if mode == "prepare":
            open_store(experiment, directory)
            return 0
        if mode == "eval" and read_config(directory) is None:
            raise UserError(f"--workdir={workdir} holds no run; train one first")
        claim_config(directory, experiment.resolved)
        return Session(experiment, directory).run(training=mode == "train")


def open_store(experiment: Experiment, workdir: Path) -> TokenStore:
    """The token store, made when missing."""
    directory = Path(experiment.store) if experiment.store else workdir / "store"
    store = prepare(experiment.data, directory)
    manifest = store.manifest
    print(
        f"corpus: {manifest.source}; {manifest.num_documents:,} documents, "
        f"{manifest.num_tokens:,} tokens, fingerprint {manifest.corpus_fingerprint}"
    )
    for reason, count in manifest.skipped.items():
        print(f"corpus: skipped {count:,} documents: {reason}")
    return store


class Session:
    """One run of `train` or `eval` in a locked work directory."""

    def __init__(self, experiment: Experiment, workdir: Path):
        self.experiment = experiment
        self.workdir = workdir
        self.store = open_store(experiment, workdir)
        self.phases = Phases(experiment.train.phases, self.store, experiment.train.seed)
        self.setup = Setup(experiment.train, self.phases)
        self.contexts = tested_contexts(experiment.eval, self.phases.l_train)
        self._describe()
        device = self.setup.devices[0]
        self.peak = device_peak(device, self._model(self.phases.l_train).compute_dtype)
        self.executables = ScoringExecutables(
            experiment.train.model,
            self.setup.vocab_size,
            self.setup.platform,
            self.setup.abstract_params,
            experiment.eval.tokens_per_call,
            self.setup.data_sharding,
            experiment.eval.seed,
        )

    def _model(self, length: int) -> ModelConfig:
        return self.experiment.train.model.resolve(
            self.setup.vocab_size, self.setup.platform, length
        )

    def _describe(self) -> None:
        """Prints what was decided before anything is compiled."""
        for phase in self.phases.phases:
            print(f"phase {phase.number}: {phase.config.steps:,} steps, {phase.layout.name}")
            print(phase.layout.accounting.table())
            for note in phase.schedule.notes:
                print(f"note: {note}")
        lengths = sorted({length for phase in self.phases.phases for length in phase.lengths})
        for length in lengths:
            choice = self.experiment.train.model.attention_choice(self.setup.platform, length)
            print(f"bucket {length}: attention {choice}")
        print(
            f"model: {parameter_count(self._model(self.phases.l_train)):,} parameters on "
            f"{len(self.setup.devices)} x {self.setup.devices[0].device_kind}"
        )
