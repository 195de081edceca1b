"""File of the curves of one evaluation, for cards that compare it with others."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lengthwise.common.array_file import load_arrays
from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.statistics.curves import Curve, Grid, Group, ScorerResult

FORMAT_VERSION = 2
CURVES = Path("eval") / "curves.npz"  # in a work directory

T = TypeVar("T", Curve, Grid)


@dataclass(frozen=True)
class Evaluation:
    """Scores of one checkpoint, and the training behind it."""

    name: str  # of the work directory, for people
    seed: int  # of the training
    training: str  # fingerprint of all else that decides the training; equal: seeds of one training
    identity: RunIdentity
    tokens: Mapping[str, Any]  # what gives its ids their meaning, `Manifest.token_meaning`
    length_p95: int  # token-weighted 95th percentile of the training lengths
    targets_by_length: Mapping[int, int]  # trained targets by the end of their bin of lengths
    scored: ScorerResult
    # seconds of wall clock: "training", "scores during training", "scoring", ...
    seconds: Mapping[str, float]
    facts: Mapping[str, str] = field(default_factory=dict)  # of the run, for people: title -> text


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Writes an .npz, whole or not at all: JSON beside the arrays of curves and grids."""
    arrays: dict[str, np.ndarray] = {}
    content = {
        "format_version": FORMAT_VERSION,
        "name": evaluation.name,
        "seed": evaluation.seed,
        "training": evaluation.training,
        "identity": dataclasses.asdict(evaluation.identity),
        "tokens": dict(evaluation.tokens),
        "length_p95": evaluation.length_p95,
        "targets_by_length": list(evaluation.targets_by_length.items()),
        "seconds": dict(evaluation.seconds),
        "facts": dict(evaluation.facts),
        "said": evaluation.scored.sentences,
        "left_out": evaluation.scored.left_out,
        "curves": _without_arrays(evaluation.scored.curves, "curve", arrays),
        "grids": _without_arrays(evaluation.scored.grids, "grid", arrays),
    }
    arrays["content"] = np.frombuffer(json.dumps(content, allow_nan=False).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    atomic_write(path, [buffer.getvalue()])


def load_evaluation(workdir: Path) -> Evaluation:
    """Reads what `save_evaluation` wrote in a work directory.

    Raises UserError: it holds none, or one of another version.
    """
    path = workdir / CURVES
    again = f"run --mode=eval --workdir={workdir}"
    try:
        arrays = load_arrays(path)
        content = json.loads(arrays.pop("content").tobytes())
    except FileNotFoundError as error:
        raise UserError(f"eval.compare: {path} is not there; {again} first") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"eval.compare: {path} can't be read ({error}); {again} again") from error
    if content["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"eval.compare: {path} has format version {content['format_version']}, this code reads "
            f"{FORMAT_VERSION}; {again} again"
        )
    return Evaluation(
        name=content["name"],
        seed=content["seed"],
        training=content["training"],
        identity=RunIdentity(**content["identity"]),
        tokens=content["tokens"],
        length_p95=content["length_p95"],
        targets_by_length=dict(content["targets_by_length"]),
        scored=ScorerResult(
            tuple(_with_arrays(Curve, c, f"curve{i}", arrays) for i, c in _each(content["curves"])),
            tuple(_with_arrays(Grid, g, f"grid{i}", arrays) for i, g in _each(content["grids"])),
            tuple(content["said"]),
            tuple(content["left_out"]),
        ),
        seconds=content["seconds"],
        facts=content.get("facts", {}),
    )


def _each(items: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    return list(enumerate(items))


def _without_arrays(
    items: Sequence[Curve | Grid], kind: str, arrays: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Splits items into plain fields, returned, and arrays, put into `arrays` as kindN.field."""
    plain = []
    for number, item in enumerate(items):
        fields = {f.name: getattr(item, f.name) for f in dataclasses.fields(item)}
        mine = {name: x for name, x in fields.items() if isinstance(x, np.ndarray)}
        arrays.update({f"{kind}{number}.{name}": array for name, array in mine.items()})
        plain.append({name: x for name, x in fields.items() if name not in mine})
    return plain


def _with_arrays(
    cls: type[T], plain: Mapping[str, Any], prefix: str, arrays: Mapping[str, np.ndarray]
) -> T:
    fields: dict[str, Any] = dict(plain)
    for name in ("lengths", "places"):
        if name in fields:
            fields[name] = tuple(fields[name])
    if cls is Curve:
        fields["group"] = Group(fields["group"])
    for key, array in arrays.items():
        owner, _, name = key.partition(".")
        if owner == prefix:
            fields[name] = array
    return cls(**fields)
