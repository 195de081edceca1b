"""Initial weights from another run (`train.init_from`)."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints, shapes_by_name
from lengthwise.train.checkpoint.meaning import Meaning, differences, other_tokens

Shapes = dict[str, tuple[int, ...]]


@contextlib.contextmanager
def _errors_alone() -> Iterator[None]:
    """Keeps Orbax from warning that what is opened to be read is opened to be read."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def weights_of(workdir: Path, abstract_params: dict[str, Any], here: Meaning) -> dict[str, Any]:
    """Restores the newest weights of another work directory, for a model of the same shapes.

    Its position scheme may be another: then what it learned for it, "positions", is left out. What
    makes another function of the same weights is printed.

    Args:
      abstract_params: ShapeDtypeStructs with shardings.
      here: the meaning of the weights at the start of this run.

    Raises:
      UserError: no checkpoint there, or one of other tokens or another model; names the fields.
    """
    directory = workdir / "checkpoints"
    if not directory.is_dir():
        raise UserError(f"train.init_from={workdir} has no checkpoints; give a --workdir of a run")
    with _errors_alone():
        source = Checkpoints(directory, read_only=True)
    try:
        step = source.latest_step()
        if step is None:
            raise UserError(
                f"train.init_from={workdir} holds no finished checkpoint; "
                "give a --workdir of a run that saved one"
            )
        there = source.host(step)["meaning"]
        if others := other_tokens(there, here):
            raise UserError(
                f"train.init_from={workdir} has weights for other tokens: {'; '.join(others)} "
                "(there -> here); use its tokenizer, such as the tokenizer.json of its store, as "
                "data.tokenizer, or weights of another run"
            )
        saved, expected = source.parameter_shapes(step), shapes_by_name(abstract_params)
        shapes = _other_shapes(_positions(saved)[1], _positions(expected)[1], there, here)
        if shapes:
            raise UserError(
                f"train.init_from={workdir} holds another model: {'; '.join(shapes)} "
                "(there -> here); use its values or weights of another run"
            )
        if _positions(saved)[0] != _positions(expected)[0]:
            abstract_params = {k: v for k, v in abstract_params.items() if k != "positions"}
        for part in ("tokens", "model", "rope_scaling"):
            for line in differences(there, here, part):
                print(f"train.init_from: {line} (there -> here)")
        weights: Any = source.restore_params(step, abstract_params)
        return dict(weights)
    finally:
        source.close()


def _positions(shapes: Shapes) -> tuple[Shapes, Shapes]:
    """(parameters of position schemes, the rest)."""
    learned = {n: shape for n, shape in shapes.items() if n.startswith("positions.")}
    return learned, {n: shape for n, shape in shapes.items() if n not in learned}


def _other_shapes(saved: Shapes, expected: Shapes, there: Meaning, here: Meaning) -> list[str]:
    """The fields that make the shapes differ, or, where none does, the first such parameter."""
    if saved == expected:
        return []
    parameters = [
        f"shape of {name}: {saved.get(name)} -> {expected.get(name)}"
        for name in sorted(saved.keys() | expected.keys())
        if saved.get(name) != expected.get(name)
    ]
    return differences(there, here, "model") or parameters[:1]
