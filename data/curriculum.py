"""Which bucket a step trains on, and with which rows: a pure function of (seed, step, counts).

The curricula are those of Pouransari et al. (arXiv 2405.13226, Algorithm 1 and table 4), with
cycles of the token budget instead of the epoch, so that a run shorter than an epoch still reaches
the long buckets. Nothing is stored and nothing is communicated: every process, and a run that is
resumed or lengthened, computes the same draws.
"""

import functools
import hashlib
import threading
from dataclasses import astuple, dataclass

import numpy as np

from data.shuffle import derive_key, hash64, permute
from errors import UserError

CURRICULA = (
    "natural",
    "uniform",
    "grow_linear",
    "grow_p2",
    "grow_p100",
    "shrink_p100",
    "explicit",
)
_CYCLES_KEPT = 4  # schedules of cycles in memory, 5 bytes a step each


@dataclass(frozen=True)
class CurriculumConfig:
    name: str  # one of CURRICULA
    odds: tuple[float, ...]  # explicit only: one a bucket, shortest first; () otherwise
    cycles: int  # number of cycles that the token budget is split into


@dataclass(frozen=True)
class Draw:
    length: int  # L, the step's bucket
    rows: np.ndarray  # int64 [B] row ids in the bucket


def bucket_odds(config: CurriculumConfig, num_buckets: int) -> np.ndarray | None:
    """Odds of each bucket, shortest first; None for natural, which weighs by what remains.

    Raises:
      UserError: an unknown name, or explicit odds that are not one positive number a bucket.
    """
    ranks = np.arange(num_buckets, dtype=np.float64)
    named = {
        "natural": None,
        "uniform": np.ones(num_buckets),
        "grow_linear": num_buckets - ranks,
        "grow_p2": 2.0 ** (num_buckets - 1 - ranks),
        "grow_p100": 100.0 ** (num_buckets - 1 - ranks),
        "shrink_p100": 100.0**ranks,
    }
    if config.name in named:
        if config.odds:
            raise UserError(
                f"curriculum.odds is only for curriculum.name = 'explicit', not {config.name!r}"
            )
        return named[config.name]
    if config.name != "explicit":
        raise UserError(
            f"unknown curriculum.name {config.name!r}: use one of {', '.join(CURRICULA)}"
        )
    odds = np.asarray(config.odds, np.float64)
    if odds.shape != (num_buckets,) or not (np.isfinite(odds) & (odds > 0)).all():
        raise UserError(
            f"curriculum.odds = {config.odds} must be {num_buckets} positive numbers, "
            "one for each bucket, shortest first"
        )
    return odds


class Schedule:
    """The draws of a run.

    The budget is split into equal cycles; a longer run goes on with cycles of the same length, so
    that lengthening it changes no earlier step. A cycle gives each bucket a quota of steps in
    proportion to its tokens (padding included), and draws buckets by odds, without replacement,
    until the quotas are empty.

    Attributes:
      lengths: the bucket lengths with rows, ascending.
      batch_sizes: for each of them its rows a step, B.
      cycle_steps: steps of one cycle.
      notes: what a user should know, one sentence each.
      fingerprint: of all that decides the draws.
    """

    def __init__(
        self,
        config: CurriculumConfig,
        bucket_rows: dict[int, int],
        tokens_per_step: int,
        budget_steps: int,
        seed: int,
    ):
        """Args:
          bucket_rows: for each length L, ascending, the rows of its bucket (0 allowed).
          tokens_per_step: B * L of every bucket.
          budget_steps: steps of the token budget, which `config.cycles` divides. A property of the
            run's plan: it stays as it is when a run is lengthened.
          seed: 0 to 2^64 - 1.

        Raises:
          UserError: the fields contradict each other or the data; the message says how.
        """
        lengths = list(bucket_rows)
        for length in lengths:
            if tokens_per_step % length:
                raise UserError(
                    f"tokens_per_step = {tokens_per_step} is not divisible by bucket {length}: "
                    f"use a multiple of {max(lengths)}, or smaller buckets"
                )
        for name, value in (("curriculum.cycles", config.cycles), ("budget_steps", budget_steps)):
            if value < 1:
                raise UserError(f"{name} = {value} must be at least 1")
        if not 0 <= seed < 2**64:
            raise UserError(f"seed = {seed} must be between 0 and 2^64 - 1")
        if not any(rows * length >= tokens_per_step for length, rows in bucket_rows.items()):
            fill = ", ".join(f"{length}: {rows * length}" for length, rows in bucket_rows.items())
            raise UserError(
                f"no bucket holds the {tokens_per_step} tokens of one step (tokens by bucket: "
                f"{fill}): use more data or a smaller tokens_per_step"
            )
        odds = bucket_odds(config, len(lengths))
        used = [place for place, length in enumerate(lengths) if bucket_rows[length]]
        self.lengths = tuple(lengths[place] for place in used)
        self.batch_sizes = {length: tokens_per_step // length for length in self.lengths}
        self.cycle_steps = max(1, budget_steps // config.cycles)
        self._odds = None if odds is None else odds[used]
        self._rows = tuple(bucket_rows[length] for length in self.lengths)
        self._tokens = tuple(bucket_rows[length] * length for length in self.lengths)
        self._seed = seed
        self.notes = self._describe()
        plan = (astuple(config), bucket_rows, tokens_per_step, self.cycle_steps, seed, "format 1")
        self.fingerprint = hashlib.blake2b(repr(plan).encode(), digest_size=8).hexdigest()
        # Steps that each bucket has had before each cycle; grows as later cycles are asked for.
        self._steps_before: list[tuple[int, ...]] = [(0,) * len(self.lengths)]
        self._growing = threading.Lock()
        self._cycle = functools.lru_cache(maxsize=_CYCLES_KEPT)(self._make_cycle)

    def bucket(self, step: int) -> int:
        """The length L of the step's bucket."""
        cycle, within = self._locate(step)
        order, _ = self._cycle(cycle)
        return self.lengths[order[within]]

    def draw(self, step: int) -> Draw:
        """The bucket and rows of a step; costs no more for a late step than for an early one.

        Over an epoch of a bucket each of its rows is drawn once, in an order of that epoch's own;
        a batch that an epoch does not fill is completed from the next one.
        """
        cycle, within = self._locate(step)
        order, earlier = self._cycle(cycle)
        place = int(order[within])
        length, num_rows = self.lengths[place], self._rows[place]
        batch_size = self.batch_sizes[length]
        visit = self._quotas_before(cycle)[place] + int(earlier[within])
        index = visit * batch_size + np.arange(batch_size)
        epoch_keys = hash64(index // num_rows, derive_key(self._seed, "rows", length))
        return Draw(length, permute(index % num_rows, num_rows, epoch_keys))

    def visits(self, num_steps: int) -> dict[int, int]:
        """How many of the first `num_steps` steps train on each bucket."""
        cycle, within = divmod(num_steps, self.cycle_steps)
        part = np.bincount(self._cycle(cycle)[0][:within], minlength=len(self.lengths))
        before = self._quotas_before(cycle)
        return {
            length: before[place] + int(part[place]) for place, length in enumerate(self.lengths)
        }

    def _locate(self, step: int) -> tuple[int, int]:
        if step < 0:
            raise ValueError(f"step {step} is negative")
        return divmod(step, self.cycle_steps)

    def _quotas_before(self, cycle: int) -> tuple[int, ...]:
        """Steps of each bucket in all cycles before this one."""
        with self._growing:
            while len(self._steps_before) <= cycle:
                total = len(self._steps_before) * self.cycle_steps
                self._steps_before.append(apportion(self._steps_before[-1], self._tokens, total))
            return self._steps_before[cycle]

    def _make_cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """For each step of a cycle: the bucket's place, and its earlier visits in this cycle."""
        quotas = np.subtract(self._quotas_before(cycle + 1), self._quotas_before(cycle))
        places = np.repeat(np.arange(quotas.size, dtype=np.uint8), quotas)
        random = np.random.Generator(np.random.Philox(key=np.array([self._seed, cycle], np.uint64)))
        if self._odds is None:
            # Drawing by what remains is drawing a uniformly random order of all that there is.
            order = random.permutation(places)
        else:
            # Drawing by fixed odds among the buckets not yet empty: the first arrivals of Poisson
            # processes with the odds as rates, each stopped after its quota (memorylessness).
            arrivals = [
                np.cumsum(random.standard_exponential(quota)) / odds
                for quota, odds in zip(quotas, self._odds, strict=True)
            ]
            order = places[np.argsort(np.concatenate(arrivals), kind="stable")]
        earlier = np.empty(order.size, np.int32)
        for place, quota in enumerate(quotas):
            earlier[order == place] = np.arange(quota)
        return order, earlier

    def _describe(self) -> tuple[str, ...]:
        notes = []
        for length, rows, tokens in zip(self.lengths, self._rows, self._tokens, strict=True):
            if rows < self.batch_sizes[length]:
                notes.append(
                    f"bucket {length} has {rows} sequences for batches of "
                    f"{self.batch_sizes[length]}: a batch repeats some"
                )
            if tokens * self.cycle_steps < sum(self._tokens):
                notes.append(
                    f"bucket {length} holds too few tokens for one step in every cycle of "
                    f"{self.cycle_steps} steps"
                )
        return tuple(notes)


def apportion(before: tuple[int, ...], weights: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Counts that add up to `total`, follow the weights and are nowhere below `before`.

    The largest-remainder rule on what each is owed, in exact integers, so that the shares neither
    drift with the number of cycles nor depend on the machine.
    """
    everything = sum(weights)
    counts = [
        max(had, weight * total // everything) for had, weight in zip(before, weights, strict=True)
    ]
    while sum(counts) != total:
        owed = [
            weight * total - count * everything
            for count, weight in zip(counts, weights, strict=True)
        ]
        if sum(counts) < total:
            counts[owed.index(max(owed))] += 1
        else:
            removable = [place for place in range(len(counts)) if counts[place] > before[place]]
            counts[min(removable, key=owed.__getitem__)] -= 1
    return tuple(counts)
