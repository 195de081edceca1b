"""The bucket schedule: bucket and rows of each step, a pure function of (seed, step, counts).

Buckets share out cycles of the token budget, not epochs, so that a run shorter than an epoch still
reaches the long buckets. Nothing is stored or communicated: every process, and a run that is
resumed or lengthened, computes the same draws.
"""

import functools
import hashlib
from dataclasses import astuple, dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.trees import values_of
from lengthwise.data.layouts.row_groups import RowGroups, Stratum
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.quotas import Quotas
from lengthwise.data.schedule.row_order import BucketOrder
from lengthwise.data.schedule.sampling import Rates, SamplingConfig, stratum_rates

# Up to here repeated text is worth almost as much as new text (Muennighoff et al., 2305.16264).
MANY_EPOCHS = 4
_CACHED_CYCLES = 4  # orders of buckets, 9 bytes a step each


@dataclass(frozen=True)
class StepDraw:
    """Bucket and rows of one step."""

    length: int  # L, the step's bucket
    rows: np.ndarray  # int64 [B] row ids in the bucket; read-only
    strata: np.ndarray  # int32 [B] the stratum of each row; read-only


class Schedule:
    """The draws of a phase.

    The budget is split into equal cycles; a longer run goes on with cycles of the same length, so
    that lengthening it changes no earlier step. A cycle gives each bucket a quota of steps in
    proportion to its tokens (padding included), or to what sampling weights make of them, and draws
    buckets by odds, without replacement, until the quotas are empty.

    Attributes:
      lengths: the bucket lengths that are drawn, ascending: those with rows of some weight.
      batch_sizes: for each of them its rows a step, B.
      cycle_steps: steps of one cycle.
      strata: those that StepDraw.strata indexes.
      shuffle_blocks: see SamplingConfig.
      notes: one sentence for each thing that a user should know.
      domain_shares: a line for each weighted domain: requested and actual share, epochs.
      fingerprint: digest of all that decides the draws.
    """

    def __init__(
        self,
        config: CurriculumConfig,
        buckets: dict[int, RowGroups],
        strata: tuple[Stratum, ...],
        sampling: SamplingConfig,
        tokens_per_step: int,
        budget_steps: int,
        seed: int,
        *,
        bucket_seed: int | None = None,
    ):
        """Args:
          buckets: for each length L, ascending, the rows of its bucket (none allowed).
          strata: the layout's, which `RowGroups.stratum` indexes.
          tokens_per_step: B * L of every bucket.
          budget_steps: steps of the token budget, which `config.cycles` divides; unchanged when a
            run is lengthened.
          seed: 0 to 2^64 - 1.
          bucket_seed: seed of the order of buckets alone; None: `seed`.

        Raises:
          UserError: fields that contradict each other or the data.
        """
        bucket_rows = {length: groups.rows for length, groups in buckets.items()}
        lengths = list(buckets)
        for length in lengths:
            if tokens_per_step % length:
                raise UserError(
                    f"tokens_per_step = {tokens_per_step} is not divisible by bucket {length}: "
                    f"use a multiple of {max(lengths)}, or smaller buckets"
                )
        for name, value in (("curriculum.cycles", config.cycles), ("budget_steps", budget_steps)):
            if value < 1:
                raise UserError(f"{name} = {value} must be at least 1")
        bucket_seed = seed if bucket_seed is None else bucket_seed
        for name, value in (("seed", seed), ("bucket_seed", bucket_seed)):
            if not 0 <= value < 2**64:
                raise UserError(f"{name} = {value} must be between 0 and 2^64 - 1")
        if not any(rows * length >= tokens_per_step for length, rows in bucket_rows.items()):
            fill = ", ".join(f"{length}: {rows * length}" for length, rows in bucket_rows.items())
            most = max(rows * length for length, rows in bucket_rows.items())
            fitting = most // max(lengths) * max(lengths)
            flag = f"--config.phase.tokens_per_step={fitting}" if fitting else "smaller buckets"
            raise UserError(
                f"no bucket holds the {tokens_per_step} tokens of one step (tokens by bucket: "
                f"{fill}): use more data or {flag}",
                advice={"phase.tokens_per_step": fitting} if fitting else {},
            )
        odds = config.chosen.odds(len(lengths))
        weights = {length: rows * length for length, rows in bucket_rows.items()}
        rates = None
        if sampling.by_strata:
            rates = stratum_rates(sampling, strata, buckets)
            weights = rates.weights
        used = [number for number, length in enumerate(lengths) if weights[length]]
        self.lengths = tuple(lengths[number] for number in used)
        self.batch_sizes = {length: tokens_per_step // length for length in self.lengths}
        self.cycle_steps = max(1, budget_steps // config.cycles)
        self.strata = strata
        self._odds = None if odds is None else odds[used]
        self._weights = tuple(weights[length] for length in self.lengths)
        self._quotas = Quotas(self._weights, self.cycle_steps)
        self._bucket_seed = bucket_seed
        self._orders = {
            length: BucketOrder(
                buckets[length],
                None if rates is None else rates.rows[length],
                seed=seed,
                length=length,
                shuffle_blocks=sampling.shuffle_blocks,
            )
            for length in self.lengths
        }
        self.shuffle_blocks = sampling.shuffle_blocks
        self.notes = self._describe()
        self.domain_shares: tuple[str, ...] = ()  # with weights of domains: a line each
        if rates is not None:
            self.notes += _repeats(rates, strata, budget_steps * tokens_per_step)
            if sampling.domain_weights:
                self.domain_shares = _domain_shares(
                    sampling, rates, strata, budget_steps * tokens_per_step
                )
        plan: tuple = (
            values_of(config, config.name),
            bucket_rows,
            tokens_per_step,
            self.cycle_steps,
            seed,
            "format 2",
        )
        if sampling.by_strata or sampling.shuffle_blocks:
            # Without the share: the rows are of the documents that it leaves.
            rates_of = astuple(sampling)[:4]
            plan += (rates_of, strata, [_digest(groups) for groups in buckets.values()])
        if bucket_seed != seed:
            plan += (("buckets", bucket_seed),)
        self.fingerprint = hashlib.blake2b(repr(plan).encode(), digest_size=8).hexdigest()
        self._cycle = functools.lru_cache(maxsize=_CACHED_CYCLES)(self._make_cycle)

    def bucket(self, step: int) -> int:
        """The length L of the step's bucket."""
        cycle, within = self._locate(step)
        order, _ = self._cycle(cycle)
        return self.lengths[order[within]]

    def draw(self, step: int) -> StepDraw:
        """Bucket and rows of a step, at the same cost for a late step as for an early one.

        Over an epoch of a bucket each of its rows is drawn once, in an order of that epoch's own;
        a batch that an epoch does not fill is completed from the next one. With sampling weights
        the same holds for each stratum of the bucket.
        """
        length, begin = self._visit(step)
        return StepDraw(length, *self._orders[length].take(begin, self.batch_sizes[length]))

    def blocks(self, step: int) -> np.ndarray:
        """Blocks of the layout, int [N], that the rows of a step may come from."""
        length, begin = self._visit(step)
        return self._orders[length].blocks(begin, self.batch_sizes[length])

    @property
    def open_blocks(self) -> int:
        """Upper bound on the blocks in use at a time: a step's, and the other buckets' windows.

        A batch needs more blocks than its bucket's window where it crosses into the next ones, as
        it does at every step where a window has fewer rows than a batch.
        """
        blocks = set().union(*(order.all_blocks.tolist() for order in self._orders.values()))
        at_rest = sum(order.open_blocks for order in self._orders.values())
        crossing = max(
            max(order.max_blocks(self.batch_sizes[length]) - order.open_blocks, 0)
            for length, order in self._orders.items()
        )
        return min(len(blocks), at_rest + crossing)

    def visits(self, num_steps: int) -> dict[int, int]:
        """Steps of each bucket among the first `num_steps` steps."""
        cycle, within = divmod(num_steps, self.cycle_steps)
        part = np.bincount(self._cycle(cycle)[0][:within], minlength=len(self.lengths))
        before = self._quotas.before(cycle)
        return {
            length: before[number] + int(part[number]) for number, length in enumerate(self.lengths)
        }

    def rows_drawn(self, num_steps: int) -> dict[int, np.ndarray]:
        """Rows of each stratum that the first `num_steps` steps draw: float64 [strata] a bucket.

        In expectation where strata are not interleaved and an epoch is unfinished.
        """
        num_strata = len(self.strata)
        return {
            length: self._orders[length].stratum_rows(count * self.batch_sizes[length], num_strata)
            for length, count in self.visits(num_steps).items()
        }

    def _locate(self, step: int) -> tuple[int, int]:
        if step < 0:
            raise ValueError(f"step {step} is negative")
        return divmod(step, self.cycle_steps)

    def _visit(self, step: int) -> tuple[int, int]:
        """Length of a step's bucket, and the number of its rows that earlier steps have drawn."""
        cycle, within = self._locate(step)
        order, earlier = self._cycle(cycle)
        length = self.lengths[int(order[within])]
        return length, int(earlier[within]) * self.batch_sizes[length]

    def _make_cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """For each step of a cycle: index of the bucket, uint8, and its earlier steps, int64."""
        before = self._quotas.before(cycle)
        quotas = np.subtract(self._quotas.before(cycle + 1), before)
        buckets = np.repeat(np.arange(quotas.size, dtype=np.uint8), quotas)
        key = np.array([self._bucket_seed, cycle], np.uint64)
        random = np.random.Generator(np.random.Philox(key=key))
        if self._odds is None:
            # Drawing without replacement by what remains gives a uniformly random order.
            order = random.permutation(buckets)
        else:
            # Drawing by fixed odds among the buckets not yet empty: the first arrivals of Poisson
            # processes with the odds as rates, each stopped after its quota (memorylessness).
            arrivals = [
                np.cumsum(random.standard_exponential(quota)) / odds
                for quota, odds in zip(quotas, self._odds, strict=True)
            ]
            order = buckets[np.argsort(np.concatenate(arrivals), kind="stable")]
        earlier = np.empty(order.size, np.int64)
        for number, quota in enumerate(quotas):
            earlier[order == number] = before[number] + np.arange(quota)
        return order, earlier

    def _describe(self) -> tuple[str, ...]:
        notes = []
        for length, weight in zip(self.lengths, self._weights, strict=True):
            rows = self._orders[length].rows
            if rows < self.batch_sizes[length]:
                notes.append(
                    f"bucket {length} has {rows} sequences for batches of "
                    f"{self.batch_sizes[length]}: a batch repeats some"
                )
            if weight * self.cycle_steps < sum(self._weights):
                notes.append(
                    f"bucket {length} holds too few tokens for one step in every cycle of "
                    f"{self.cycle_steps} steps"
                )
        return tuple(notes)


def _domain_shares(
    sampling: SamplingConfig, rates: Rates, strata: tuple[Stratum, ...], budget_tokens: int
) -> tuple[str, ...]:
    """A line for each domain: requested share, actual share, and epochs in the budget."""
    lines = []
    for each in sampling.domain_weights:
        inside = np.array([stratum.domain == each.domain for stratum in strata])
        tokens = int(rates.tokens[inside].sum())
        epochs = each.weight * budget_tokens / max(tokens, 1)
        lines.append(
            f"domain {each.domain}: {each.weight:.2%} of the trained tokens asked for, "
            f"{tokens / rates.tokens.sum():.2%} of those there are, {epochs:.2f} epochs in the "
            "budget"
        )
    return tuple(lines)


def _repeats(rates: Rates, strata: tuple[Stratum, ...], budget_tokens: int) -> tuple[str, ...]:
    """Notes on strata that the budget repeats many times."""
    return tuple(
        f"{stratum.domain}, documents of {stratum.min_tokens} tokens and more: the budget goes "
        f"{share * budget_tokens / tokens:.1f} times through them"
        for stratum, share, tokens in zip(strata, rates.shares, rates.tokens, strict=True)
        if share * budget_tokens > MANY_EPOCHS * tokens
    )


def _digest(groups: RowGroups) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in (groups.first, groups.count, groups.block, groups.stratum):
        digest.update(array.astype("<i8").tobytes())
    return digest.hexdigest()
