"""Sampling weights of domains and document lengths, and stratified batches.

Weights are rates, not copies: the index holds each row once, and a stratum that is drawn more often
than it has rows goes through epochs of its own.
"""

import math
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.data.layouts.row_groups import RowGroups, Stratum
from lengthwise.data.schedule.quotas import apportion

PERIOD = 1 << 16  # rows of the repeating pattern of strata: shares are exact to 1 / PERIOD


@dataclass(frozen=True)
class DomainWeight:
    domain: str
    weight: float  # share of the trained tokens


@dataclass(frozen=True)
class LengthWeight:
    min_tokens: int  # of documents at least this long, up to the next min_tokens
    weight: float  # multiplies how often they are drawn; shorter documents than all have 1


@dataclass(frozen=True)
class SamplingConfig:
    """Sampling of one phase. Raises UserError for meaningless weights."""

    # Shares of the trained tokens, one a domain: ({"domain": "code", "weight": 0.3}, {"domain":
    # "prose", "weight": 0.7}). Empty: as many tokens as there are.
    domain_weights: tuple[DomainWeight, ...] = ()
    # What multiplies the rate of long documents: ({"min_tokens": 8192, "weight": 4.0},) weighs
    # those of 8,192 tokens and more. Empty: 1.
    length_weights: tuple[LengthWeight, ...] = ()
    stratify: bool = False  # every batch holds domains and length bins in proportion
    # blocks of the store mixed at a time; 0: all (full shuffle)
    shuffle_blocks: int = setting(0, "[0, inf)")
    # of the training documents, drawn by the seed of the order; the others are never read
    share: float = setting(1.0, "(0, 1]")

    def __post_init__(self) -> None:
        names = [each.domain for each in self.domain_weights]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"sampling.domain_weights names the domain {name!r} twice")
        named = [(f"domain {each.domain!r}", each.weight) for each in self.domain_weights]
        named += [(f"min_tokens {each.min_tokens}", each.weight) for each in self.length_weights]
        for name, weight in named:
            if not (math.isfinite(weight) and weight >= 0):
                raise UserError(f"sampling: the weight {weight} of {name} must be at least 0")
        total = sum(each.weight for each in self.domain_weights)
        if self.domain_weights and abs(total - 1) > 1e-6:
            raise UserError(
                f"sampling.domain_weights add up to {total:g}, but are shares of the trained "
                "tokens: make them add up to 1"
            )
        bins = self.length_bins
        if any(low >= high for low, high in zip((0, *bins), bins, strict=False)):
            raise UserError(
                f"sampling.length_weights has min_tokens {', '.join(map(str, bins))}: "
                "they must be positive and ascend"
            )
        if self.shuffle_blocks < 0:
            raise UserError(f"sampling.shuffle_blocks = {self.shuffle_blocks} must be at least 0")

    @property
    def length_bins(self) -> tuple[int, ...]:
        """Tokens at which length bins begin, ascending, beside the one from 0."""
        return tuple(each.min_tokens for each in self.length_weights)

    @property
    def by_strata(self) -> bool:
        """Whether strata are interleaved at rates; else all rows are one shuffle."""
        return bool(self.domain_weights or self.length_weights or self.stratify)


def stratum_shares(
    config: SamplingConfig, strata: tuple[Stratum, ...], tokens: np.ndarray
) -> np.ndarray:
    """Share of the trained tokens that each stratum gets.

    Args:
      tokens: int64 [strata], tokens of each in all buckets.

    Returns: float64 [strata], adds up to 1; 0 for a stratum without tokens.

    Raises:
      UserError: a weight of an unknown domain, none of a known one, a positive one of a domain
        without sequences; or all weights are 0.
    """
    domains = tuple(dict.fromkeys(stratum.domain for stratum in strata))
    length_weight = np.ones(len(strata))
    for each in config.length_weights:
        longer = [stratum.min_tokens >= each.min_tokens for stratum in strata]
        length_weight[longer] = each.weight
    shares = tokens * length_weight
    if config.domain_weights:
        weights = {each.domain: each.weight for each in config.domain_weights}
        _check_domains(weights, domains)
        for domain, weight in weights.items():
            inside = np.array([stratum.domain == domain for stratum in strata])
            mass = shares[inside].sum()
            if weight and not mass:
                what = "sequences" if not tokens[inside].any() else "length bin with a weight"
                raise UserError(
                    f"sampling.domain_weights gives {weight:g} to the domain {domain!r}, which has "
                    f"no {what}: give it 0, or more data"
                )
            shares[inside] *= weight / mass if weight else 0
    if not shares.sum():
        raise UserError("sampling: all weights are 0: give a positive one to what is to be trained")
    normalized: np.ndarray = shares / shares.sum()
    return normalized


def _check_domains(weights: dict[str, float], domains: tuple[str, ...]) -> None:
    known = ", ".join(domains)
    for name in weights:
        if name not in domains:
            raise UserError(
                f"sampling.domain_weights names the domain {name!r}, which the training data "
                f"lacks: its domains are {known}"
            )
    missing = [name for name in domains if name not in weights]
    if missing:
        raise UserError(
            f"sampling.domain_weights lacks the domain {missing[0]!r}: give each of {known} a "
            "weight (0 leaves it out)"
        )


@dataclass(frozen=True)
class Rates:
    """Draw rates of buckets and of the strata in them."""

    weights: dict[int, int]  # by length: proportional to the bucket's steps
    rows: dict[int, np.ndarray]  # by length: int64 [strata], rows of a stratum in a period
    shares: np.ndarray  # float64 [strata] of the trained tokens
    tokens: np.ndarray  # int64 [strata] in the layout


def stratum_rates(
    config: SamplingConfig, strata: tuple[Stratum, ...], buckets: dict[int, RowGroups]
) -> Rates:
    """Rates of the strata in each bucket. Raises UserError as `stratum_shares`."""
    rows = np.array(
        [
            np.bincount(groups.stratum, groups.count, minlength=len(strata))
            for groups in buckets.values()
        ]
    )
    bucket_tokens = rows * np.array(list(buckets))[:, None]  # [buckets, strata]
    tokens = bucket_tokens.sum(axis=0)
    shares = stratum_shares(config, strata, tokens)
    mass = bucket_tokens * (shares / np.maximum(tokens, 1))
    return Rates(
        weights={
            length: _integer(float(of_bucket.sum()))
            for length, of_bucket in zip(buckets, mass, strict=True)
        },
        rows={
            length: _row_rates(of_bucket)
            for length, of_bucket in zip(buckets, mass, strict=True)
            if of_bucket.any()
        },
        shares=shares,
        tokens=tokens,
    )


def _row_rates(mass: np.ndarray) -> np.ndarray:
    rates = np.array(apportion(tuple(_integer(each) for each in mass.tolist()), PERIOD))
    # A stratum too rare for the period still gets one slot, so that its rows are drawn at all.
    return np.where(mass > 0, np.maximum(rates, 1), 0)


def _integer(mass: float) -> int:
    return max(1, round(mass * 2**48)) if mass > 0 else 0
