"""Interface of scoring: measurements while a run trains, and the report of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lengthwise.configs.base import RunConfig
from lengthwise.data.store.token_store import TokenStore
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.inference import Batching, Inference, device_tokens
from lengthwise.eval.inference.programs import Architecture
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup

if TYPE_CHECKING:
    from lengthwise.eval.report.run.run_page import RunInputs


@dataclass(frozen=True)
class Subject:
    """A run as its scoring sees it: config, corpus and devices, no work directory."""

    experiment: RunConfig
    store: TokenStore
    phases: Phases
    setup: Setup

    @property
    def model(self) -> ModelSpec:
        return self.setup.blueprint.model

    @property
    def l_train(self) -> int:
        """The longest training length, in tokens."""
        return self.phases.l_train

    @property
    def trained_scalings(self) -> set[RopeScaling]:
        """Scalings under which checkpoints of the run are trained, one a phase or fewer."""
        return {phase.config.rope_scaling for phase in self.phases.phases}

    @property
    def start_token(self) -> StartToken:
        """The token before texts that nothing stands before."""
        manifest = self.store.manifest
        joined = any(phase.layout.joined for phase in self.phases.phases)
        return StartToken.of(manifest.begin_of_text, manifest.end_of_text, joined)

    @property
    def scored_text(self) -> str:
        """Fingerprint of the scored texts: of the corpus, with the token that begins documents."""
        manifest = self.store.manifest
        begins = "" if manifest.begin_of_text is None else f"+{manifest.begin_of_text}"
        return manifest.corpus_fingerprint + begins

    def identity(self, step: int) -> RunIdentity:
        """Provenance of the scores of the checkpoint at `step`."""
        return RunIdentity(
            corpus_fingerprint=self.store.manifest.corpus_fingerprint,
            checkpoint_step=step,
            l_train=self.l_train,
            position_scheme=self.model.position_scheme,
        )

    def inference(self, config: EvalConfig, *, longest: int) -> Inference:
        """The model in device batches.

        Args:
          config: settings of scoring, which may be others than the experiment's.
          longest: tokens of the longest row that may be scored chunk by chunk; 0: unknown.
        """
        blueprint = self.setup.blueprint
        architecture = Architecture(
            blueprint.model, blueprint.abstract_params, blueprint.data_sharding
        )
        pad = self.store.manifest.end_of_text
        batching = Batching(
            config.tokens_per_call, config.seed, pad, config.chunk, longest, device_tokens()
        )
        return Inference(architecture, batching)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it is reported."""

    step: int  # optimizer steps
    params: object
    host: dict[str, Any]  # the JSON part


class Scoring(Protocol):
    """Scores of one run. Made before anything is compiled: what can't be scored raises UserError
    then."""

    left_out: tuple[str, ...]  # what can't be scored and why

    @classmethod
    def check(cls, experiment: RunConfig) -> None:
        """Raises UserError for settings of scoring that no corpus can put right."""
        ...

    def compare_with_others(self, workdir: Path) -> None:
        """Loads the runs that eval.compare names. Raises UserError: one can't be compared."""
        ...

    @property
    def probes(self) -> bool:
        """Whether there is anything to measure while the run trains."""
        ...

    def probe(self, params: object, step: int) -> dict[str, Any]:
        """The selection split's scores for metrics.jsonl, "stopping_score" among them."""
        ...

    def compile(self) -> None:
        """Compiles every program of the scores, during training and after."""
        ...

    def report(self, checkpoint: Checkpoint, workdir: Path, run: Callable[[], RunInputs]) -> None:
        """Scores a checkpoint on the report split; the first process writes results and pages.

        run: what the page tells of any run, as of now.
        """
        ...
