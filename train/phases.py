"""Phases: stretches of a run, each with its own lengths, layout, curriculum and positions."""

import bisect
import dataclasses
import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.batches.pipeline import HostBatch, check_reading, store_batches
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import LayoutIndex, SplitDocuments, build_layout
from lengthwise.data.schedule.epochs import domain_epochs
from lengthwise.data.schedule.exposure import Exposure, exposure
from lengthwise.data.schedule.schedule import Schedule
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.train.config import PhaseConfig
from lengthwise.train.rules.anomaly import AnomalyRules
from lengthwise.train.rules.data_steps import DataSteps
from lengthwise.train.seeds import Seeds

# Stores of more documents keep their layout's index on disk; below, it is built in a second or two.
IN_MEMORY_DOCUMENTS = 1 << 20


class PhaseShape(Protocol):
    """Properties of a phase that decide its programs."""

    @property
    def number(self) -> int: ...
    @property
    def first_step(self) -> int: ...
    @property
    def config(self) -> PhaseConfig: ...
    @property
    def lengths(self) -> tuple[int, ...]: ...
    def batch_size(self, length: int) -> int: ...
    def segmented(self, length: int) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase with its index and schedule; covers steps [first_step, first_step + steps)."""

    number: int
    first_step: int
    steps: int  # planned ones, or those that a rule has left it
    config: PhaseConfig
    layout: LayoutIndex
    schedule: Schedule

    @property
    def lengths(self) -> tuple[int, ...]:
        """Buckets with sequences, ascending."""
        return self.schedule.lengths

    def batch_size(self, length: int) -> int:
        return self.config.tokens_per_step // length

    def segmented(self, length: int) -> bool:
        """Whether rows of a bucket may hold several segments."""
        return self.layout.buckets[length].segmented


class Phases:
    """The phases of a run in order; a batch is a pure function of the phase's data step."""

    def __init__(
        self,
        configs: Sequence[PhaseConfig],
        store: TokenStore,
        seeds: Seeds,
        workdir: Path | None = None,
        *,
        verify: bool = False,
    ):
        """Lays out the training documents.

        Args:
          workdir: where the index of a large store is kept, in `layouts/`; None: nowhere.
          verify: whether an index that is kept there is read whole and compared with its checksums.
        """
        large = store.manifest.num_documents > IN_MEMORY_DOCUMENTS
        directory = workdir / "layouts" if workdir is not None and large else None
        self.store = store
        self.phases: list[Phase] = []
        first = 0
        for number, config in enumerate(configs):
            if config.steps < 1:
                raise UserError(f"phase {number + 1}: steps={config.steps} must be at least 1")
            phase_seed = _of_phase(seeds.order, number)
            documents = SplitDocuments(store, Split.TRAIN, config.sampling.share, seeds.order)
            layout = build_layout(
                config.layout, documents, phase_seed, directory, config.sampling.length_bins, verify
            )
            schedule = Schedule(
                config.curriculum,
                layout.bucket_groups,
                layout.strata,
                config.sampling,
                config.tokens_per_step,
                config.budget_steps,
                phase_seed,
                bucket_seed=_of_phase(seeds.buckets, number),
            )
            for length in schedule.lengths:
                rows = config.tokens_per_step // length
                if rows % config.microbatches:
                    raise UserError(
                        f"phase {number + 1}: microbatches={config.microbatches} does not divide "
                        f"the batch of {rows} rows of bucket {length}"
                    )
            self.phases.append(Phase(number, first, config.steps, config, layout, schedule))
            first += config.steps
        self.end_at({})

    def end_at(self, ends: Mapping[int, int]) -> None:
        """Sets which phases have ended before their planned steps.

        ends: phase number -> steps of the run done when it ended; all others have those planned.
        """
        first = 0
        for number, phase in enumerate(self.phases):
            steps = ends[number] - first if number in ends else phase.config.steps
            self.phases[number] = dataclasses.replace(phase, first_step=first, steps=steps)
            first += steps
        self.total_steps = first
        self._starts = [phase.first_step for phase in self.phases]

    def at(self, step: int) -> Phase:
        """The phase of a step (0-based: the number of steps done before it)."""
        return self.phases[bisect.bisect_right(self._starts, step) - 1]

    @property
    def l_train(self) -> int:
        """Longest length of a training row, in tokens."""
        return max(max(phase.lengths) for phase in self.phases)

    def scaling_after(self, step: int) -> RopeScaling:
        """RoPE scaling in use after `step` steps."""
        return self.at(max(0, step - 1)).config.rope_scaling

    def exposure(self, step: int, rules: AnomalyRules) -> list[Exposure]:
        """Exposure of each phase begun, after `step` steps of the run.

        rules: record of data that were skipped or passed over.
        """
        return [
            exposure(
                phase.layout,
                phase.schedule,
                rules.trained(phase.number, min(phase.steps, step - phase.first_step)),
            )
            for phase in self.phases
            if step > phase.first_step or phase.number == 0
        ]

    def epochs(self, step: int, rules: AnomalyRules) -> dict[str, float]:
        """Epochs of each domain after `step` steps of the run, all phases together.

        rules: as for `exposure`.
        """
        total: dict[str, float] = {}
        for phase in self.phases:
            done = min(phase.steps, max(0, step - phase.first_step))
            trained = rules.trained(phase.number, done)
            for domain, count in domain_epochs(phase.layout, phase.schedule, trained).items():
                total[domain] = total.get(domain, 0.0) + count
        return total

    def fingerprint(self) -> str:
        """Fingerprint of the order of the data: store, layouts, schedules, not how many steps."""
        parts = [self.store.manifest.fingerprint]
        for phase in self.phases:
            parts += [phase.layout.fingerprint, phase.schedule.fingerprint]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

    def check(self, reading: ReadingConfig) -> None:
        """Raises UserError where batches can't be read as configured."""
        for phase in self.phases:
            check_reading(reading, self.store, phase.layout, phase.schedule)

    def keys(self, start_step: int, data_steps: DataSteps) -> list[tuple[int, int]]:
        """(phase number, length) of every bucket that a step from `start_step` on may use.

        The one needed first stands first.
        """
        current = self.at(start_step)
        data_step = data_steps.at(current.number, start_step - current.first_step)
        first = (current.number, current.schedule.bucket(data_step))
        rest = [
            (phase.number, length)
            for phase in self.phases[current.number :]
            for length in phase.lengths
        ]
        return [first, *(key for key in rest if key != first)]

    def batches(
        self,
        start_step: int,
        local_slices: Callable[[int, int], tuple[np.ndarray, Sequence[slice]]],
        reading: ReadingConfig,
        data_steps: DataSteps,
    ) -> Generator[tuple[Phase, HostBatch]]:
        """Host batches from `start_step` to the end, read ahead by threads.

        Args:
          local_slices: (phase number, length) -> rows and columns that this process reads.
        """
        for phase in self.phases[self.at(start_step).number :]:
            start = max(0, start_step - phase.first_step)
            number = phase.number

            def local(length: int, number: int = number) -> tuple[np.ndarray, Sequence[slice]]:
                return local_slices(number, length)

            for steps in data_steps.ranges(number, start, phase.steps):
                for batch in store_batches(
                    self.store, phase.layout, phase.schedule, reading, steps, local
                ):
                    yield phase, batch


def _of_phase(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
