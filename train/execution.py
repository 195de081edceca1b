"""How a bucket's step is computed: choices that change its speed and memory, never its result."""

import dataclasses
from collections.abc import Mapping, Sequence

from errors import UserError
from train.mesh import MeshConfig, ViewShape, default_view
from train.phases import PhaseShape

Key = tuple[int, int]  # (phase number, bucket)


@dataclasses.dataclass(frozen=True)
class BucketExecution:
    """The choices for one (phase, bucket)."""

    view: ViewShape
    microbatches: int  # parts of a batch computed one after the other
    remat: str  # one of model.config's policies

    def check(self, length: int, batch: int, config: MeshConfig, devices: int) -> None:
        """Raises UserError for a mesh or a batch that can't be divided like this."""
        if (self.view.slices, self.view.tensor) != (config.slices, config.tensor):
            raise UserError(
                f"bucket {length}: the view {self.view} doesn't have mesh.slices={config.slices} "
                f"and mesh.tensor={config.tensor}, which place the parameters; plan again for these"
            )
        if self.view.devices != devices:
            raise UserError(
                f"bucket {length}: the view {self.view} is of {self.view.devices} devices, but "
                f"there are {devices}; plan again for these"
            )
        if batch % (self.microbatches * self.view.row_shards):
            raise UserError(
                f"bucket {length}: {batch} rows can't be divided into {self.microbatches} "
                f"microbatches over {self.view.row_shards} row shards of the view {self.view}; "
                "choose fewer microbatches"
            )


def default_executions(
    phases: Sequence[PhaseShape], config: MeshConfig, remat: str, devices: int
) -> Mapping[Key, BucketExecution]:
    """For every (phase, bucket): the microbatches of the phase, as many row shards as there can be.

    Raises:
      UserError: the devices can't be divided over a bucket.
    """
    executions = {}
    for phase in phases:
        microbatches = phase.config.microbatches
        for length in phase.lengths:
            rows = phase.batch_size(length) // microbatches
            view = default_view(length, rows, config, devices)
            executions[phase.number, length] = BucketExecution(view, microbatches, remat)
    return executions
