"""RoPE scalings: frequencies for contexts longer than the trained one.

One may belong to the model (`model.rope_scaling`: part of what its weights mean), to the phase of a
training, and to a method of running it: each takes the frequencies that the one before made, and
their temperatures multiply.

Each kind changes the frequencies f_i = theta^(-2i/C) (radians a position, one a channel pair) in
float64; s is `factor`, L is `original_length` and r_i = L f_i / (2 pi) counts the turns that pair i
makes over L positions.

none:       f_i
linear:     f_i / s, position interpolation (Chen et al., arXiv:2306.15595).
ntk:        theta -> theta s^(C / (C - 2)) (bloc97, "NTK-aware scaled RoPE", 2023): the fastest pair
            turns as before, the slowest one s times slower.
dynamic:    ntk with s -> s l / L - (s - 1) where the sequence length l exceeds L, none up to there
            (emozilla, "Dynamically scaled RoPE", 2023; transformers' form of it).
by_parts:   f_i / s where r_i < low_turns, f_i where r_i > high_turns, between them mixed linearly
            in r_i ("NTK-by-parts", YaRN's section 3.2, arXiv:2309.00071).
yarn:       like by_parts, mixed linearly in the index i, between the whole indices around those
            that make high_turns and low_turns (without `truncate`: between those themselves);
            logits times (0.1 ln s + 1)^2, or with mscale m and mscale_all_dim n, as DeepSeek has
            them, ((0.1 m ln s + 1) / (0.1 n ln s + 1))^2. So the authors' code and transformers;
            the paper's own ramp is by_parts.
llama3:     like by_parts with high_turns 4, the mix linear in r_i between 1/s and 1 (Llama 3.1,
            arXiv:2407.21783).
longrope:   f_i / short_factors[i] up to L, f_i / long_factors[i] beyond; logits times
            1 + ln s / ln L (Ding et al., arXiv:2402.13753).
truncated:  f_i where f_i >= b; 2 pi / (16 L) where b > f_i > b / 8; 0 below; b = 2 pi / L, so that
            no pair is left that never came round in training (Giraffe, arXiv:2308.10882).
power:      f_i (1 - 2i/C)^exponent (Giraffe).
base:       theta^(-2i/C) of another theta, whatever there was before ("adjusted base frequency",
            ABF, Xiong et al., arXiv:2309.16039). For a phase of training.
hope:       f_i where r_i >= 1, 0 below: pairs that never came round in training don't turn (the
            position-independent low band of HoPE, arXiv:2410.21216).

"Logits times a^2" is a factor a on cos and sin of queries and of keys.

More settings go with every kind; all but the last change distances, which attention does by
other queries and keys for the pairs that are far apart (`biases.FarField`):

ceiling:    distances of `ceiling` tokens and more count as `ceiling` (LM-Infinite,
            arXiv:2308.16137).
shift:      distances d >= `shift` count as d - shift + shift_kept (STRING, arXiv:2410.18745, its
            equation 5 with S and W): those that training saw often take the place of the rest.
grouped:    distances from `near` = W on count as floor(i/G) - floor(j/G) + W - floor(W/G), with
            G = grouped (SelfExtend, arXiv:2401.01325).
leak:       distances d from `near` = w on count as w + (d - w) / leak (Su, Leaky ReRoPE, 2023).
log_n:      queries at position n - 1 are multiplied by max(1, ln n / ln log_n), so that attention
            over more keys than `log_n` stays as sharp (Chiang & Cholak, arXiv:2202.12172; Su,
            "Entropy invariance of softmax", 2021); for every position scheme.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

from lengthwise.common.errors import UserError


@dataclass(frozen=True)
class RopeScaling:
    """A kind of scaling with its numbers. Numbers that a kind does not use keep their defaults."""

    kind: str = "none"  # none | linear | ntk | dynamic | by_parts | yarn | llama3 | ...
    factor: float = 1.0  # ratio of lengths
    original_length: int = 0  # tokens that the positions were trained on before
    low_turns: float = 0.0  # turns in it up to which a pair is interpolated; 0: 1
    high_turns: float = 0.0  # turns in it from which a pair is left alone; 0: by kind
    truncate: bool = True  # yarn: its ramp begins and ends at whole indices
    # longrope: a divisor a channel pair, up to original_length
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()  # longrope: the same beyond it
    attention_factor: float = 0.0  # on cos and sin; 0: by kind
    mscale: float = 0.0  # yarn: the weight of 0.1 ln factor in that, with mscale_all_dim; 0: 1
    mscale_all_dim: float = 0.0  # yarn: its weight in the divisor of that; 0: no divisor
    exponent: float = 0.0  # power; 0: 0.5
    theta: float = 0.0  # base: that of the wavelengths, above 1
    ceiling: int = 0  # tokens that distances count as, at most; 0: as they are
    shift: int = 0  # distances from so many tokens on count as ...
    shift_kept: int = 0  # ... so many tokens and more; shift 0: as they are
    near: int = 0  # distances from so many tokens on are grouped, or leak; 0: as they are
    grouped: int = 0  # tokens a group
    leak: float = 0.0  # divisor of what a distance has beyond `near`
    log_n: int = 0  # keys beyond which queries grow by ln n / ln log_n; 0: not

    def __post_init__(self) -> None:
        if self.kind not in SCALINGS:
            raise UserError(f"unknown rope scaling {self.kind!r}; known: {', '.join(SCALINGS)}")
        used = SCALINGS[self.kind].uses
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name not in (*used, *_OF_ALL) and value != field.default:
                raise UserError(
                    f"rope scaling {self.kind!r} has no {field.name}, got {value}; it takes "
                    f"{', '.join(used) or 'no numbers'}"
                )
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise UserError(f"rope scaling factor must be positive, got {self.factor}")
        if "original_length" in used and self.original_length < 2:
            raise UserError(
                f"rope scaling {self.kind!r} needs original_length, the tokens that the model was "
                f"trained on before, got {self.original_length}"
            )
        if self.kind in ("dynamic", "yarn", "longrope") and self.factor < 1:
            raise UserError(
                f"rope scaling {self.kind!r}: factor must be at least 1, got {self.factor}"
            )
        if "low_turns" in used:
            low, high = self.turns
            if not 0 < low < high:
                raise UserError(f"rope scaling needs 0 < low_turns < high_turns, got {low}, {high}")
        for name in ("short_factors", "long_factors"):
            factors = getattr(self, name)
            if self.kind == "longrope" and not (factors and min(factors) > 0):
                raise UserError(f"rope scaling 'longrope' needs positive {name}, got {factors}")
        for name in ("exponent", "attention_factor", "mscale", "mscale_all_dim", *_OF_ALL):
            if getattr(self, name) < 0:
                raise UserError(f"rope scaling's {name} must not be negative")
        if bool(self.mscale) != bool(self.mscale_all_dim):
            raise UserError(
                f"rope scaling has mscale={self.mscale} and mscale_all_dim={self.mscale_all_dim}, "
                "of which one alone has no effect in transformers; give both, or attention_factor"
            )
        if self.kind == "base" and not self.theta > 1:
            raise UserError(f"rope scaling 'base' needs a theta above 1, got {self.theta}")
        self._check_distances()
        if self.log_n == 1:
            raise UserError("rope scaling's log_n must be at least 2, or 0 for none")

    def _check_distances(self) -> None:
        maps = [name for name in ("ceiling", "shift", "near") if getattr(self, name)]
        if len(maps) > 1:
            raise UserError(f"rope scaling has {' or '.join(maps)}, not both; drop one of them")
        if self.shift_kept and not self.shift > self.shift_kept:
            shifts = f"shift_kept={self.shift_kept} must be below shift={self.shift}"
            raise UserError(f"rope scaling's {shifts}")
        if bool(self.near) != (bool(self.grouped) != bool(self.leak)):
            raise UserError(
                f"rope scaling has near={self.near}, grouped={self.grouped}, leak={self.leak}; "
                "give near with either of the others, or none"
            )
        if self.grouped and not 2 <= self.grouped <= self.near:
            raise UserError(
                f"rope scaling's grouped={self.grouped} must lie between 2 and near={self.near}"
            )
        if self.leak and self.leak < 1:
            raise UserError(f"rope scaling's leak={self.leak} must be at least 1")

    @property
    def turns(self) -> tuple[float, float]:
        """(low_turns, high_turns), zeros replaced by their meaning."""
        return self.low_turns or 1.0, self.high_turns or SCALINGS[self.kind].high_turns

    @property
    def follows_length(self) -> bool:
        """Whether another sequence length means other frequencies."""
        return self.kind in ("dynamic", "longrope")

    @property
    def far(self) -> "FarPositions | None":
        """The far field: what large distances count as; None: as they are."""
        if self.ceiling:
            return FarPositions(self.ceiling, "ceiling", self.ceiling)
        if self.shift:
            return FarPositions(self.shift, "shift", self.shift_kept)
        if self.grouped:
            near, size = self.near, self.grouped
            return FarPositions(near, "grouped", near - near // size, size)
        if self.leak:
            return FarPositions(self.near, "leak", self.near)
        return None

    @property
    def extras(self) -> str:
        """The settings that go with every kind, in words; empty: none."""
        words = []
        if self.ceiling:
            words.append(f"distances up to {self.ceiling}")
        if self.shift:
            words.append(f"distances from {self.shift} on shifted to {self.shift_kept}")
        if self.grouped:
            words.append(f"distances from {self.near} on in groups of {self.grouped}")
        if self.leak:
            words.append(f"distances from {self.near} on divided by {self.leak:g}")
        if self.log_n:
            words.append(f"queries scaled by log n beyond {self.log_n}")
        return ", ".join(words)

    @property
    def temperature(self) -> float:
        """The factor on cos and sin of queries and keys: logits are multiplied by its square."""
        if self.attention_factor:
            return self.attention_factor
        if self.kind == "yarn":
            grown = 0.1 * math.log(self.factor)
            if self.mscale:
                return (self.mscale * grown + 1) / (self.mscale_all_dim * grown + 1)
            return grown + 1
        if self.kind == "longrope":
            return math.sqrt(1 + math.log(self.factor) / math.log(self.original_length))
        return 1.0


@dataclass(frozen=True)
class FarPositions:
    """Distances in tokens from `boundary` on, as RoPE counts them; static."""

    boundary: int
    kind: str  # ceiling | shift | grouped | leak, see above
    counted_as: int  # the distance `boundary`, or what a query's grouped position is raised by
    group: int = 1  # tokens a position


def check_on_top(own: RopeScaling, added: RopeScaling) -> None:
    """Raises UserError: the model's own scaling does already what one on top of it is for."""
    by_length = own.kind == "dynamic" or (own.follows_length and added.follows_length)
    if added.kind != "none" and by_length:
        raise UserError(
            f"model.rope_scaling.kind={own.kind!r} follows the length of a text by itself: rope "
            f"scaling {added.kind!r} on top would count it twice; leave that out"
        )


def static_scaling(scaling: RopeScaling, trained: RopeScaling) -> RopeScaling:
    """Static part of `scaling` on top of `trained`, without the numbers that are operands: one
    compiled program serves all scalings with the same static part."""
    source = scaling if scaling.far else trained
    return RopeScaling(
        "none",
        ceiling=source.ceiling,
        shift=source.shift,
        shift_kept=source.shift_kept,
        near=source.near,
        grouped=source.grouped,
        leak=1.0 if source.leak else 0.0,
        log_n=2 if scaling.log_n or trained.log_n else 0,
    )


_OF_ALL = ("ceiling", "shift", "shift_kept", "near", "grouped", "leak", "log_n")
_PARTS = ("factor", "original_length", "low_turns", "high_turns")


class _Kind(NamedTuple):
    uses: tuple[str, ...]  # fields of RopeScaling
    high_turns: float = 32.0


SCALINGS = {
    "none": _Kind(()),
    "linear": _Kind(("factor",)),
    "ntk": _Kind(("factor",)),
    "dynamic": _Kind(("factor", "original_length")),
    "by_parts": _Kind(_PARTS),
    "yarn": _Kind((*_PARTS, "truncate", "attention_factor", "mscale", "mscale_all_dim")),
    "llama3": _Kind(_PARTS, high_turns=4.0),
    "longrope": _Kind(
        ("factor", "original_length", "short_factors", "long_factors", "attention_factor")
    ),
    "truncated": _Kind(("original_length",)),
    "power": _Kind(("exponent",)),
    "base": _Kind(("theta",)),
    "hope": _Kind(("original_length",)),
}

UNSCALED = RopeScaling("none")
