"""Registry of the compiled inference programs of one architecture.

A program is named by its specification: a hashable value with everything it is compiled for.
Parameters, position tables and first columns are operands, so that checkpoints, frequencies and
chunks of a row share programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.common.interruption import interruption_point
from lengthwise.model import transformer
from lengthwise.model.parallel.mesh import on_view, use_mesh
from lengthwise.model.parallel.zigzag import column_at, slot_of
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec

Program = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model without its weights, and the devices that it runs on."""

    model: ModelSpec
    abstract_params: Any  # a tree of jax.ShapeDtypeStruct, with shardings
    data_sharding: Callable[[int, int], NamedSharding]  # (rows, tokens) -> of such an array

    def tables(self, scaling: RopeScaling, trained: RopeScaling, length: int) -> transformer.Tables:
        """Position tables of rows of `length` tokens; see `transformer.position_tables`.

        Raises:
          UserError: the model has no positions for rows of this length.
        """
        self.model.check_length(length)
        return transformer.position_tables(self.model, scaling, trained, length)

    def view(self, rows: int, tokens: int) -> View:
        """The mesh view of arrays [rows, tokens]. Raises UserError: there is none."""
        return View(self, self.data_sharding(rows, tokens))


@dataclass(frozen=True, eq=False)
class View:
    """Devices as a program sees them, and the abstract operands that it is lowered for."""

    architecture: Architecture
    rows: NamedSharding  # of arrays [B, L]

    @property
    def mesh(self) -> Mesh:
        assert isinstance(self.rows.mesh, Mesh)
        return self.rows.mesh

    @property
    def whole(self) -> NamedSharding:
        """Sharding of arrays that every device has whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def row_devices(self) -> int:
        """Devices that share the tokens of a row."""
        return self.mesh.shape["context"]

    @property
    def params(self) -> Any:
        return on_view(self.architecture.abstract_params, self.mesh)

    def ints(self, *shape: int) -> jax.ShapeDtypeStruct:
        """int32 [B, L], spread over devices; [B], whole on each."""
        sharding = self.rows if len(shape) == 2 else self.whole
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)

    def like(self, arrays: Any) -> Any:
        """A tree of arrays, whole on each device."""
        return jax.tree.map(lambda x: abstract(x, self.whole), arrays)

    def place(self, array_BL: np.ndarray) -> jax.Array:
        """int [B, L] on the devices, as int32, columns in the order of the devices."""
        placed_BL = array_BL[:, self._columns(array_BL, column_at)]
        return jax.make_array_from_callback(
            array_BL.shape, self.rows, lambda index: placed_BL[index].astype(np.int32)
        )

    def in_order(self, array_BL: jax.Array) -> np.ndarray:
        """[B, L] on the host, columns in the order of the row."""
        interruption_point()  # the devices may have many batches before this one
        return np.asarray(array_BL)[:, self._columns(array_BL, slot_of)]

    def _columns(self, array_BL: np.ndarray | jax.Array, order: Callable) -> np.ndarray:
        length = array_BL.shape[1]
        return order(np.arange(length), length, self.row_devices)


@dataclass(frozen=True)
class Definition:
    """Function and abstract operands of a program."""

    function: Callable
    operands: tuple[Any, ...]  # trees of jax.ShapeDtypeStruct
    out_shardings: Any
    donated: tuple[int, ...] = ()  # positions of the operands whose memory the results take


class Specification(Protocol):
    """Key of a program: hashable."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, tokens) of the arrays by which the mesh view is chosen."""
        ...

    def define(self, view: View) -> Definition:
        """Traced and lowered on the mesh of the view."""
        ...


class Programs:
    """Programs by specification, each compiled on first use."""

    def __init__(self, architecture: Architecture):
        self.architecture = architecture
        self.compiled: dict[Specification, jax.stages.Compiled] = {}

    def get(self, specification: Specification) -> Program:
        """The compiled program. Raises UserError: the model can't compute what it specifies."""
        if specification not in self.compiled:
            view = self.architecture.view(*specification.shape)
            with use_mesh(view.mesh):
                program = specification.define(view)
                jitted = jax.jit(
                    program.function,
                    out_shardings=program.out_shardings,
                    donate_argnums=program.donated,
                )
                self.compiled[specification] = jitted.lower(*program.operands).compile()
        compiled = self.compiled[specification]

        def run(*operands: Any) -> Any:
            interruption_point()
            return compiled(*operands)

        return run


def abstract(x: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    """Shape and type of an array, with a sharding."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
