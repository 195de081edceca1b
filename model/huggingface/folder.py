"""A local folder of weights as Hugging Face has them: config.json and files of safetensors."""

import functools
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.files import read_json_object
from lengthwise.common.trees import as_tree, build
from lengthwise.model import transformer
from lengthwise.model.config import ModelConfig
from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.safetensors import SafetensorsFile, Stored
from lengthwise.model.huggingface.table import Tensor, tensors_of
from lengthwise.model.spec import ModelSpec

CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def is_weight_folder(path: Path) -> bool:
    """Whether a folder has a config.json of transformers, unlike that of a work directory."""
    try:
        content = json.loads((path / CONFIG).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and bool({"model_type", "architectures"} & content.keys())


class WeightFolder:
    """An open folder; its weights are read in parts.

    Raises:
      UserError: there is no config.json, an unknown family, a field or dtype that isn't served,
        pickled or quantized weights, a file that is missing or cut off.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_dir():
            raise UserError(f"{path} is no folder; name one with config.json and *.safetensors")
        if not (path / CONFIG).is_file():
            raise UserError(f"{path} has no {CONFIG}; name a folder as transformers saves it")
        self.fields = Fields(read_json_object(path / CONFIG), path / CONFIG)
        self.family = self._family()
        if self.fields.content.get("quantization_config"):
            raise UserError(
                f"{path / CONFIG}: quantized weights aren't served; save them de-quantized, as "
                "bfloat16 or float32"
            )
        self._files = [SafetensorsFile(each) for each in self._paths()]
        self._arrays = self._all_arrays()

    def _family(self) -> Family:
        content = self.fields.content
        name = content.get("model_type")
        if not isinstance(name, str) or name not in FAMILIES:
            code = " (code of a folder is never run)" if content.get("auto_map") else ""
            raise UserError(
                f"{self.fields.path}: model_type={name!r} is unknown{code}; known: "
                f"{', '.join(sorted(FAMILIES.names()))}"
            )
        family = FAMILIES[name]()
        named = content.get("architectures") or [family.architecture]
        if family.architecture not in named:
            raise UserError(
                f"{self.fields.path}: architectures={named} isn't served; of {name} it is "
                f"{family.architecture}"
            )
        return family

    def _paths(self) -> list[Path]:
        if (self.path / INDEX).is_file():
            names = read_json_object(self.path / INDEX).get("weight_map")
            if not isinstance(names, Mapping) or not all(map(_is_file_name, names.values())):
                raise UserError(f"{self.path / INDEX} has no weight_map; download it again")
            return [self.path / name for name in sorted(set(names.values()))]
        found = sorted(self.path.glob("*.safetensors"))
        if found:
            return found
        pickled = [each.name for kind in _PICKLED for each in sorted(self.path.glob(kind))]
        if pickled:
            raise UserError(
                f"{self.path} has pickled weights ({pickled[0]}), which are never opened: they may "
                "run code; convert them where you trust them: AutoModelForCausalLM."
                "from_pretrained(FOLDER).save_pretrained(OUT) of transformers writes safetensors"
            )
        raise UserError(f"{self.path} has no *.safetensors; download the weights too")

    def _all_arrays(self) -> dict[str, tuple[SafetensorsFile, Stored, str]]:
        """Arrays by name in the table: (file, what it says, their name in it)."""
        arrays, prefix = {}, self.family.prefix
        names = [name for file in self._files for name in file.arrays]
        bare = bool(prefix) and not any(name.startswith(prefix) for name in names)
        for file in self._files:
            for name, stored in file.arrays.items():
                full = prefix + name if bare and not name.startswith("lm_head") else name
                if full in arrays:
                    raise UserError(f"{self.path}: {name} is in two files; remove one of them")
                if not any(fnmatch(full, each) for each in self.family.dropped):
                    arrays[full] = file, stored, name
        return arrays

    @property
    def positions(self) -> int:
        """Tokens of the longest sequences that the model is for; 0: config.json doesn't say."""
        names = ("max_position_embeddings", "seq_length", "n_positions")
        return next((n for name in names if (n := self.fields.whole(name, None))), 0)

    @property
    def end_of_text(self) -> int | None:
        """Id of the token that ends a text, by config.json; of several the first one."""
        value = self.fields.content.get("eos_token_id")
        if isinstance(value, list) and value:
            value = value[0]
        return value if type(value) is int else None

    @functools.cached_property
    def model(self) -> ModelConfig:
        """The model of the weights. Its output is tied where the file has no other.

        Raises UserError: a field that isn't served.
        """
        settings = self.family.settings(self.fields)
        config = build(ModelConfig, settings, "model")
        if config.tie_embeddings and self._has_own_head(config):
            config = build(ModelConfig, settings | {"tie_embeddings": False}, "model")
        return config

    def _has_own_head(self, config: ModelConfig) -> bool:
        """Whether there is an output projection that differs from the embedding."""
        untied = build(ModelConfig, as_tree(config) | {"tie_embeddings": False}, "model")
        table = {entry.ours: entry.theirs for entry in self.family.table(_spec(untied))}
        head, embedding = table["unembedding"], table["embedding"]
        if head not in self._arrays or embedding not in self._arrays:
            return False
        rows = self._arrays[embedding][1].shape[0]
        same = self._arrays[head][1] == self._arrays[embedding][1]._replace(
            offset=self._arrays[head][1].offset
        )
        for start in range(0, rows if same else 0, 4096):
            some = np.arange(start, min(start + 4096, rows))
            one, other = (self.read(name, some, slice(None)) for name in (head, embedding))
            same &= bool(np.array_equal(one, other))
        if same:
            del self._arrays[head]
            return False
        print(f"note: {self.path}: an output projection of its own, though tie_word_embeddings")
        return True

    @functools.cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the model by name.

        Raises UserError: one is missing, one too many, or of another shape.
        """
        spec = _spec(self.model)
        expected = tensors_of(self.family.table(spec), leaf_shapes(spec))
        for what, names in (
            ("lacks", expected.keys() - self._arrays.keys()),
            ("has, and config.json has no place for,", self._arrays.keys() - expected.keys()),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise UserError(
                    f"{self.path} {what} the tensor {min(names)}{more}; take files and config.json "
                    "of one model"
                )
        for name, tensor in expected.items():
            if (shape := self._arrays[name][1].shape) != tensor.shape:
                raise UserError(
                    f"{self.path}: {name} has the shape {shape}, and by config.json it would be "
                    f"{tensor.shape}; take files and config.json of one model"
                )
        return expected

    def dtype(self) -> Any:
        """The numpy dtype of the embedding."""
        (entry,) = (e for e in self.family.table(_spec(self.model)) if e.ours == "embedding")
        return self._arrays[entry.theirs][1].dtype

    def read(self, name: str, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Rows and columns of a tensor, in its own dtype."""
        file, _, own = self._arrays[name]
        return file.read(own, rows, columns)

    def close(self) -> None:
        for file in self._files:
            file.close()


def leaf_shapes(model: ModelSpec) -> dict[str, tuple[int, ...]]:
    """{dotted name: shape} of the parameters of a model."""
    abstract = jax.eval_shape(functools.partial(transformer.init_params, model), np.uint32(0))
    leaves = jax.tree_util.tree_leaves_with_path(abstract)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in leaves
    }


def _spec(config: ModelConfig) -> ModelSpec:
    return ModelSpec.of(config, config.vocab_rows, "cpu")


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
