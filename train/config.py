"""The settings of a run, apart from its data and its scoring."""

import dataclasses

from lengthwise.data.batches.pipeline import ReadingConfig
from lengthwise.model.config import ModelConfig
from lengthwise.model.spec import ModelSpec
from lengthwise.train.mesh import MeshConfig
from lengthwise.train.metrics.profile import ProfileConfig
from lengthwise.train.phases import PhaseConfig
from lengthwise.train.rules.anomaly import AnomalyConfig
from lengthwise.train.rules.stopping import StoppingConfig
from lengthwise.train.seeds import Seeds
from lengthwise.train.step.optimizer import OptimizerConfig, learning_rate_schedule


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How often what happens, in optimizer steps."""

    log_every: int  # steps between rows of metrics.jsonl
    eval_every: int  # steps between scores on the selection split; 0: only at the end
    checkpoint_every: int  # steps between checkpoints; one is always written at the end
    checksums: bool  # a hash of (batch, loss, parameters) in every row, to compare runs


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a run."""

    seeds: Seeds
    model: ModelConfig
    optimizer: OptimizerConfig
    phases: tuple[PhaseConfig, ...]
    loop: LoopConfig
    reading: ReadingConfig
    stopping: StoppingConfig
    anomaly: AnomalyConfig
    mesh: MeshConfig
    compile: str  # one of train.programs.compiled.COMPILE_MODES
    profile: ProfileConfig
    compilation_cache: str  # see train.compilation_cache.enable_compilation_cache
    init_from: str  # a work directory to take the first weights from; empty: random ones

    def check(self, platform: str) -> None:
        """Raises UserError for what no data can put right, before any is read."""
        learning_rate_schedule(self.optimizer, sum(phase.steps for phase in self.phases))
        # The size of the vocabulary is not known yet; nothing here depends on it.
        model = ModelSpec.of(self.model, vocab_size=2, platform=platform)
        for phase in self.phases:
            model.check(phase.layout.smallest_bucket)
