"""The settings of a run, apart from its data and its scoring."""

import dataclasses

from data.pipeline import ReadingConfig
from model.settings import ModelSettings
from train.anomaly import AnomalyConfig
from train.mesh import MeshConfig
from train.optimizer import OptimizerConfig, learning_rate_schedule
from train.phases import PhaseConfig
from train.profile import ProfileConfig
from train.running import LoopConfig
from train.seeds import Seeds
from train.stopping import StoppingConfig


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a run."""

    seeds: Seeds
    model: ModelSettings
    optimizer: OptimizerConfig
    phases: tuple[PhaseConfig, ...]
    loop: LoopConfig
    reading: ReadingConfig
    stopping: StoppingConfig
    anomaly: AnomalyConfig
    mesh: MeshConfig
    compile: str  # one of train.compiled.COMPILE_MODES
    profile: ProfileConfig
    compilation_cache: str  # see train.compilation_cache.enable_compilation_cache
    init_from: str  # a work directory to take the first weights from; empty: random ones

    def check(self, platform: str) -> None:
        """Raises UserError for what no data can put right, before any is read."""
        learning_rate_schedule(self.optimizer, sum(phase.steps for phase in self.phases))
        for phase in self.phases:
            # The size of the vocabulary is not known yet; nothing here depends on it.
            self.model.resolve(2, platform, phase.layout.smallest_bucket)
