"""Cost of scoring long rows, in sections.

python -m lengthwise.benchmarks.eval.long_rows [--sections=memory] [--config.FIELD=...]

memory: the compiler's account of one row's scoring pass by length, whole and in chunks over a cache
of keys and values. Nothing is run.
"""

from collections.abc import Callable

import jax
from absl import flags
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict, config_flags

from lengthwise.app.command import flag_command
from lengthwise.configs.bytes import get_config
from lengthwise.configs.resolve import build
from lengthwise.eval.inference.cache_programs import ScoreChunk
from lengthwise.eval.inference.inference import Batching, Inference
from lengthwise.eval.inference.programs import Architecture, Specification
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model import transformer
from lengthwise.model.config import ModelConfig
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.spec import ModelSpec
from lengthwise.train.config import MeshConfig
from lengthwise.train.mesh import batch_sharding, default_view, mesh_view

_LENGTHS = flag_command.define_numbers(
    "lengths", [4096, 16384, 131072], "Tokens a row.", lower_bound=1
)
_CHUNK = flags.DEFINE_integer("chunk", 4096, "Tokens of a part.", lower_bound=1)
_VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 257, "Token ids.", lower_bound=1)
_MIB = 2**20


def memory(config: ConfigDict) -> None:
    """Prints the bytes of one row's pass by length: parameters, operands, temporaries, results."""
    settings = build(ModelConfig, config.model.to_dict(), "model")
    model = ModelSpec.of(settings, _VOCAB_SIZE.value, jax.devices()[0].platform)
    print("| tokens | method | parameters | operands | temporaries, results | all |")
    print("|---|---|---|---|---|---|")
    for length in _LENGTHS.value:
        for chunk in (0, _CHUNK.value):
            if length <= chunk:
                continue
            inference, parameters = _inference(model, length, chunk)
            setting = Setting()
            program: Specification
            if inference.batching.chunked(length):
                method = f"chunks of {chunk:,}"
                kind = inference.row_kind(length, setting, UNSCALED)
                program = ScoreChunk(kind, chunk, by_row=False)
            else:
                method = "whole"
                program = inference.score_rows(length, setting, UNSCALED)
            compiled = inference.programs.get(program)
            memory_of_pass = compiled.memory_analysis()  # type: ignore[attr-defined]
            operands = memory_of_pass.argument_size_in_bytes - parameters
            # Results in the place of donated operands take no memory of their own.
            results = memory_of_pass.output_size_in_bytes - memory_of_pass.alias_size_in_bytes
            sizes = (parameters, operands, memory_of_pass.temp_size_in_bytes + results)
            cells = " | ".join(f"{size / _MIB:,.1f} MiB" for size in (*sizes, sum(sizes)))
            print(f"| {length:,} | {method} | {cells} |", flush=True)


def _inference(model: ModelSpec, length: int, chunk: int) -> tuple[Inference, int]:
    """The programs for one row at a time on one device, and the bytes of the parameters."""

    def data_sharding(batch: int, length: int) -> NamedSharding:
        view = default_view(length, batch, MeshConfig(slices=1, tensor=1), 1)
        return batch_sharding(mesh_view(view, jax.devices()[:1]))

    everywhere = NamedSharding(data_sharding(1, length).mesh, PartitionSpec())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
        jax.eval_shape(lambda: transformer.init_params(model, 0)),
    )
    architecture = Architecture(model, abstract, data_sharding)
    batching = Batching(length, seed=0, pad=0, chunk=chunk, longest=length)
    parameters = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(abstract))
    return Inference(architecture, batching), parameters


SECTIONS: dict[str, Callable[[ConfigDict], None]] = {"memory": memory}

_CHOSEN = flag_command.define_names("sections", [*SECTIONS], "What is measured.")
_CONFIG = config_flags.DEFINE_config_dict("config", get_config())


def main(_: list[str]) -> None:
    for name in _CHOSEN.value:
        print(f"{name}:", flush=True)
        SECTIONS[name](_CONFIG.value)


if __name__ == "__main__":
    flag_command.run(main)
