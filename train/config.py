"""The settings of a run, apart from its data and its scoring."""

import dataclasses

from data.pipeline import ReadingConfig
from model.settings import ModelSettings
from train.anomaly import AnomalyConfig
from train.mesh import MeshConfig
from train.optimizer import OptimizerConfig
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
