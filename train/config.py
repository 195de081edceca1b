"""The settings of training, apart from its data and its scoring."""

import dataclasses
import functools

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
from lengthwise.train.rules.phase_end import PhaseEndConfig
from lengthwise.train.rules.stopping import StoppingConfig
from lengthwise.train.seeds import Seeds, SeedsConfig
from lengthwise.train.step.settings import (
    MOMENTS,
    OptimizerConfig,
    PhaseRateConfig,
    RateSchedule,
)
from lengthwise.train.tracking.tracker import TrackingConfig

CONFIG_VERSION = 3  # of config.json: runs whose config has another are refused
COMPILE_MODES = ("auto", "ahead", "behind")


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
    """Settings of one phase."""

    steps: int = setting(1000, "[1, inf)")  # optimizer steps; the most, where `end` has conditions
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
    rate: PhaseRateConfig = section(PhaseRateConfig)
    # keep | new: the optimizer's moments, and their counters, as the phase begins
    moments: str = setting("keep", choices=MOMENTS)
    end: PhaseEndConfig = section(PhaseEndConfig)

    @property
    def renews(self) -> bool:
        """Whether some of the optimizer's state begins anew with the phase."""
        return self.rate.restart or self.moments == "new"


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
    # a work directory whose newest weights this run starts from, or a Hugging Face folder
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
    tracking: TrackingConfig = section(TrackingConfig)
    mesh: MeshConfig = section(MeshConfig)

    def check_ends(self, *, evaluates: bool) -> None:
        """Checks the rules that end phases.

        evaluates: whether the corpus has text for scores during training.

        Raises:
          UserError: a rule that no evaluation would ever decide.
        """
        for number, phase in enumerate(self.phases):
            where = f"phases[{number}].end.conditions={phase.end.conditions}"
            if not phase.end.conditions:
                continue
            if not evaluates:
                raise UserError(
                    f"{where} needs scores during training, which this corpus has no text for; "
                    "leave it empty"
                )
            if not 0 < self.train.eval_every < phase.steps:
                raise UserError(
                    f"{where} needs evaluations in its {phase.steps} steps, and "
                    f"train.eval_every={self.train.eval_every}; set that to fewer steps"
                )
            if number == 0 and phase.end.looks_back:
                raise UserError(f"{where}: nothing is before the first phase; write a number")

    @property
    def resolved_seeds(self) -> Seeds:
        """The seed of each random choice."""
        return self.seeds.following(self.seed)

    @functools.cached_property
    def rate_schedules(self) -> tuple[RateSchedule, ...]:
        """The schedules of the learning rate in order: one, and one for each restart.

        Raises:
          UserError: a phase that restarts none has values of one, or optimizer.schedule_steps
            stands beside restarts.
        """
        starts = [n for n, phase in enumerate(self.phases) if n == 0 or phase.rate.restart]
        for number, phase in enumerate(self.phases):
            if number not in starts and phase.rate != PhaseRateConfig():
                raise UserError(
                    f"phases[{number}].rate={phase.rate} needs rate.restart=True: the schedule of "
                    "the phases before goes on"
                )
        if len(starts) > 1 and self.optimizer.schedule_steps:
            raise UserError(
                f"optimizer.schedule_steps={self.optimizer.schedule_steps} is for one schedule, "
                f"and phases[{starts[1]}].rate.restart begins another; set it to 0, and "
                "phase.budget_steps to the steps of each"
            )
        schedules = []
        for first, end in zip(starts, [*starts[1:], len(self.phases)], strict=True):
            planned = sum(phase.budget_steps or phase.steps for phase in self.phases[first:end])
            steps = self.optimizer.schedule_steps or planned
            asked = self.phases[first].rate.over(self.optimizer)
            schedules.append(RateSchedule(first, steps, asked.clipped(steps), asked.warmup_steps))
        return tuple(schedules)

    def rate_schedule(self, phase: int) -> RateSchedule:
        """The schedule of the learning rate in a phase, by its number."""
        return next(each for each in self.rate_schedules[::-1] if each.first_phase <= phase)

    def schedule_notes(self) -> list[str]:
        """Where the schedules are others than the fields alone say."""
        notes = []
        for schedule in self.rate_schedules:
            asked, warmup = schedule.asked_warmup, schedule.optimizer.warmup_steps
            if warmup != asked:
                notes.append(
                    f"optimizer.warmup_steps={asked} does not fit into {schedule.steps} steps; "
                    f"the warm-up has {warmup}"
                )
        total = sum(phase.steps for phase in self.phases)
        steps = sum(schedule.steps for schedule in self.rate_schedules)
        varies = any(each.optimizer.schedule != "constant" for each in self.rate_schedules)
        if total != steps and varies:
            notes.append(
                f"the schedule of the learning rate has {steps} of the {total} steps; "
                f"--config.optimizer.schedule_steps={total} fits it to them"
                if len(self.rate_schedules) == 1
                else f"the schedules of the learning rate have {steps} of the {total} steps"
            )
        return notes
