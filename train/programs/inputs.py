"""Operands of a step besides its batch: step number, seed, tables of the position schemes."""

import dataclasses
from typing import Protocol

import numpy as np

from lengthwise.model.positions.context_extension import clex_positions, e2_llm_scale
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.transformer import Tables
from lengthwise.train.phases import PhaseShape
from lengthwise.train.step.update import StepInputs


class TableSource(Protocol):
    """Makes or looks up the tables of the position schemes for rows of `length` tokens.

    trained: the scaling that parameters of a scheme were trained with.
    """

    def __call__(
        self, scaling: RopeScaling, length: int, trained: RopeScaling = UNSCALED
    ) -> Tables: ...


def step_inputs(
    phase: PhaseShape, step: int, length: int, seed: int, tables: TableSource
) -> StepInputs:
    """Operands of the step after `step` optimizer steps, in the bucket `length`.

    seed: of dropout and of random positions.
    """
    scaling, stretched = phase.config.rope_scaling, phase.config.positions
    renews = phase.number > 0 and phase.config.renews
    inputs = StepInputs(
        step=np.int32(step),
        seed=np.uint32(seed),
        tables=tables(scaling, length),
        begins=np.bool_(step == phase.first_step) if renews else None,
    )
    draw = (stretched, seed, step, max(phase.lengths), length)
    if stretched.kind == "e2_llm":
        scale, offset = e2_llm_scale(*draw)
        scaled = tables(RopeScaling("linear", float(scale)), length, scaling)
        return dataclasses.replace(inputs, tables=scaled, offset=np.int32(offset))
    if stretched.kind == "clex":
        factor, positions = clex_positions(*draw)
        spread = {**inputs.tables, "clex": np.float32(factor)}
        return dataclasses.replace(inputs, tables=spread, positions=positions)
    return inputs
