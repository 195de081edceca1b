"""The settings of training, apart from its data and its scoring."""

import dataclasses

from lengthwise.common.errors import UserError
from lengthwise.common.settings import overlays, section, setting
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.sampling import SamplingConfig
from lengthwise.model.config import ModelConfig
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.positions.settings import ContextExtension
from lengthwise.train.rules.anomaly import AnomalyConfig
from lengthwise.train.rules.stopping import StoppingConfig
from lengthwise.train.seeds import Seeds, SeedsConfig
from lengthwise.train.step.settings import OptimizerConfig

CONFIG_VERSION = 3  # of config.json: runs whose config has another are refused
COMPILE_MODES = ("auto", "ahead", "behind")


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
    """Settings of one phase."""

    steps: int = setting(1000, "[1, inf)")  # optimizer steps
    tokens_per_step: int = setting(8192, "[1, inf)")  # tokens of a batch, the same for every bucket
    # parts of a batch computed one after the other, to save memory
    microbatches: int = setting(1, "[1, inf)")
    # steps that the cycles and the schedule of the learning rate divide, which a longer run keeps;
    # 0: `steps` at the first start
    budget_steps: int = 0
    # of the scheme's own frequencies, whatever the phase before had
    rope_scaling: RopeScaling = section(RopeScaling)
    positions: ContextExtension = section(ContextExtension)
    layout: LayoutConfig = section(LayoutConfig)
    curriculum: CurriculumConfig = section(CurriculumConfig)
    sampling: SamplingConfig = section(SamplingConfig)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """What of the mesh does not depend on the bucket."""

    # groups of devices that a slow network joins; each has all parameters
    slices: int = setting(1, "[1, inf)")
    tensor: int = setting(1, "[1, inf)")  # devices that share one layer's heads
    topology: str = ""  # --mode=plan: TPUs to plan for, such as v5e:16x16 or v5p:4x4x4

    def shared(self, devices: int) -> int:
        """Devices of a slice that divide rows and columns between them.

        Raises:
          UserError: slices and tensor don't divide the devices.
        """
        for name, ways in (("slices", self.slices), ("tensor", self.tensor)):
            if ways < 1 or devices % ways:
                raise UserError(
                    f"mesh.{name}={ways} does not divide the {devices} devices; "
                    "choose a divisor of the device count"
                )
        if devices % (self.slices * self.tensor):
            raise UserError(
                f"mesh.tensor={self.tensor} does not divide the {devices // self.slices} devices "
                f"of each of mesh.slices={self.slices}; choose a divisor of those"
            )
        return devices // (self.slices * self.tensor)


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """Which steps are traced."""

    # first and last step of a TensorBoard trace, such as (10, 12); (): none
    steps: tuple[int, ...] = ()

    def check(self, total_steps: int) -> None:
        """Checks the steps against those of the run.

        Raises:
          UserError: not two, not in order, or beyond the run's end.
        """
        if not self.steps:
            return
        if len(self.steps) != 2 or not 1 <= self.steps[0] <= self.steps[1] <= total_steps:
            raise UserError(
                f"profile.steps={self.steps} must be the first and the last traced step, "
                f"in order, from 1 to {total_steps}; for example (10, 12)"
            )


@dataclasses.dataclass(frozen=True)
class LoopConfig(ReadingConfig):
    """How often what happens, in optimizer steps; how batches are read and steps compiled."""

    log_every: int = setting(1, "[1, inf)")  # steps between rows of metrics.jsonl
    # steps between scores on the selection split; 0: at the end
    eval_every: int = setting(250, "[0, inf)")
    checkpoint_every: int = setting(250, "[1, inf)")  # steps between checkpoints
    # steps between checkpoints that stay, beside the last two and the best: a multiple of
    # checkpoint_every; 0: none
    keep_every: int = setting(0, "[0, inf)")
    checksums: bool = False  # a hash of (batch, loss, parameters) in every row
    compile: str = setting("auto", choices=COMPILE_MODES)  # auto: behind on a CPU, else ahead
    # directory or gs:// address of compiled programs, for the next start; empty: that in the
    # environment's JAX_COMPILATION_CACHE_DIR, or WORKDIR/compiled; "off": none
    compilation_cache: str = ""
    # a work directory whose newest weights this run starts from
    init_from: str = setting("", path=True)

    def __post_init__(self) -> None:
        if self.keep_every % self.checkpoint_every:
            raise UserError(
                f"train.keep_every={self.keep_every} must be a multiple of "
                f"train.checkpoint_every={self.checkpoint_every}: no other step has a checkpoint"
            )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What training needs to know; the sections of a config that scoring adds nothing to."""

    seed: int = setting(0, "[0, 4294967296)")  # of all that config.seeds leaves open
    seeds: SeedsConfig = section(SeedsConfig)
    model: ModelConfig = section(ModelConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    # each item overrides fields of `phase`: ({"steps": 900}, {"steps": 100, "layout": {...}})
    phases: tuple[PhaseConfig, ...] = overlays("phase", declares=True)
    train: LoopConfig = section(LoopConfig)
    stopping: StoppingConfig = section(StoppingConfig)
    anomaly: AnomalyConfig = section(AnomalyConfig)
    profile: ProfileConfig = section(ProfileConfig)
    mesh: MeshConfig = section(MeshConfig)

    @property
    def resolved_seeds(self) -> Seeds:
        """The seed of each random choice."""
        return self.seeds.following(self.seed)

    @property
    def schedule_steps(self) -> int:
        """Steps of the learning rate's schedule, which a longer run keeps, as its data do."""
        budget = sum(phase.budget_steps or phase.steps for phase in self.phases)
        return self.optimizer.schedule_steps or budget

    @property
    def scheduled_optimizer(self) -> OptimizerConfig:
        """The optimizer, its warm-up clipped to the schedule's steps."""
        return self.optimizer.clipped(self.schedule_steps)

    def schedule_notes(self) -> list[str]:
        """Where the schedule is another than the fields alone say."""
        notes, steps, total = [], self.schedule_steps, sum(phase.steps for phase in self.phases)
        asked, warmup = self.optimizer.warmup_steps, self.scheduled_optimizer.warmup_steps
        if warmup != asked:
            notes.append(
                f"optimizer.warmup_steps={asked} does not fit into {steps} steps; "
                f"the warm-up has {warmup}"
            )
        if total != steps and self.optimizer.schedule != "constant":
            notes.append(
                f"the schedule of the learning rate has {steps} of the {total} steps; "
                f"--config.optimizer.schedule_steps={total} fits it to them"
            )
        return notes
