"""Folders that can't be read are refused by one line; numbers that can't go wrong unseen."""

import json
import re

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.model.huggingface.export import choose_family, expressed
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.folder import WeightFolder, is_weight_folder
from lengthwise.model.huggingface.rope import read_rope
from lengthwise.model.huggingface.safetensors import DTYPES, SafetensorsFile, write_safetensors
from lengthwise.model.huggingface.table import Entry, head_major, matrix, tensors_of
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from tests.model.decoder_reference import PLAIN, changed, position_settings
from tests.parity.test_families import FIGURES, write_folder


def rewritten(path, **changes):
    content = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(content))


def without(path, name):
    """Writes the weights again without a tensor."""
    source = SafetensorsFile(path / "model.safetensors")
    arrays = {n: (s.dtype, s.shape) for n, s in source.arrays.items() if n != name}

    def values(each):
        return source.read(each, np.arange(arrays[each][1][0]), slice(None))

    write_safetensors(path / "model.safetensors", arrays, values)


def cut(path, count):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:count])


def as_dtype(path, name):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"F32"', f'"{name}"'.encode(), 1))


def pickled(path):
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def index(path):
    (path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')


HEAD = "lm_head.weight"
BAD = {
    "no config": (lambda p: (p / "config.json").unlink(), "has no config.json"),
    "no JSON": (lambda p: (p / "config.json").write_text("{"), "is no JSON"),
    "unknown family": (lambda p: rewritten(p, model_type="mamba"), "'mamba' is unknown.*qwen3"),
    "code of its own": (
        lambda p: rewritten(p, model_type="mine", auto_map={"AutoModel": "mine.Mine"}),
        "never run",
    ),
    "another head": (lambda p: rewritten(p, architectures=["LlamaForTokens"]), "LlamaForTokens"),
    "missing field": (lambda p: rewritten(p, hidden_size=None), "has no hidden_size"),
    "a word for a number": (lambda p: rewritten(p, hidden_size="x"), "hidden_size='x' must be"),
    "activation": (lambda p: rewritten(p, hidden_act="snake"), "hidden_act='snake'"),
    "a factor of 0": (
        lambda p: rewritten(
            p, model_type="granite", architectures=["GraniteForCausalLM"], logits_scaling=0
        ),
        "logits_scaling=0 must be positive",
    ),
    "scaling": (
        lambda p: rewritten(p, rope_scaling={"rope_type": "mine"}),
        "RoPE type 'mine' isn't served",
    ),
    "quantized": (lambda p: rewritten(p, quantization_config={"bits": 4}), "quantized"),
    "missing tensor": (lambda p: without(p, HEAD), f"lacks the tensor {HEAD};"),
    "tensor too many": (lambda p: rewritten(p, num_hidden_layers=1), r"model.layers.1.* and \d+"),
    "another shape": (lambda p: rewritten(p, intermediate_size=41), "has the shape"),
    "cut off": (lambda p: cut(p, -1 * 8), "is cut off: "),
    "cut in the header": (lambda p: cut(p, 100), "header is missing or cut off"),
    "empty file": (lambda p: cut(p, 0), "header is missing or cut off"),
    "dtype": (lambda p: as_dtype(p, "I64"), "dtype I64, which isn't served"),
    "pickle": (pickled, "pickled weights .pytorch_model.bin., which are never opened"),
    "index that leaves the folder": (index, "has no weight_map"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_that_cannot_be_read_is_refused(tmp_path, case):
    damage, message = BAD[case]
    damage(write_folder(tmp_path, "llama"))
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)) as refused:
        _ = WeightFolder(tmp_path).tensors
    assert "\n" not in str(refused.value)


def test_tied_weights_go_by_the_file(tmp_path, capsys):
    path = write_folder(tmp_path / "own", "llama")
    rewritten(path, tie_word_embeddings=True)
    assert not WeightFolder(path).model.tie_embeddings
    assert "output projection of its own" in capsys.readouterr().out
    figures = FIGURES["llama"]["tensors"]
    arrays = {name: (DTYPES["F32"], tuple(shape)) for name, shape in figures.items()}
    write_safetensors(path / "model.safetensors", arrays, lambda n: np.ones(arrays[n][1]))
    assert WeightFolder(path).model.tie_embeddings


def test_a_bloom_without_its_prefix_is_a_bloom(tmp_path, monkeypatch):
    figures = FIGURES["bloom"]
    bare = {name.removeprefix("transformer."): of for name, of in figures["tensors"].items()}
    monkeypatch.setitem(FIGURES, "bare", figures | {"tensors": bare})
    assert WeightFolder(write_folder(tmp_path, "bare")).model.embedding_norm


def test_a_work_directory_is_no_folder_of_weights(tmp_path):
    (tmp_path / "config.json").write_text('{"version": 3}')
    assert not is_weight_folder(tmp_path)
    assert is_weight_folder(write_folder(tmp_path / "weights", "llama"))


def test_parts_of_an_array_are_what_numpy_cuts(tmp_path):
    array = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    stored = {"a": (DTYPES["F32"], array.shape), "b": (DTYPES["BF16"], (3,))}
    values = {"a": array, "b": np.arange(3)}
    # A view that isn't contiguous must be written in its own order.
    write_safetensors(tmp_path / "x", stored, lambda n: np.asfortranarray(values[n]))
    file = SafetensorsFile(tmp_path / "x")
    rows = np.array([3, 4, 5, 40, 2, 1])
    np.testing.assert_array_equal(file.read("a", rows, slice(2, 6)), array[rows, 2:6])
    assert file.read("b", np.arange(3), slice(None)).astype(float).tolist() == [0, 1, 2]


def fields(**content):
    return Fields(content, "config.json")


def test_rope_is_read_in_both_spellings_in_the_order_of_transformers():
    new = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    old = {"type": "linear", "factor": 4.0}
    assert read_rope(fields(rope_parameters=new, rope_theta=9.0), 1e4)[0] == 500.0
    both = read_rope(fields(rope_parameters=new, rope_scaling=old, rope_theta=9.0), 1e4)
    assert (both.theta, both.scaling) == (9.0, RopeScaling("linear", 4.0))
    assert read_rope(fields(), 1e4) == (1e4, 1.0, UNSCALED)
    yarn = {"type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5}
    found = read_rope(fields(rope_scaling=yarn, max_position_embeddings=64), 1e4).scaling
    assert found.original_length == 64
    assert found.temperature == pytest.approx((0.1 * np.log(4) + 1) / (0.05 * np.log(4) + 1))


def test_rows_of_a_fused_tensor_go_head_by_head():
    assert head_major(2, 2, 1).tolist() == [2, 3, 8, 9]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([matrix("a", "A")], "must be one each"),
        ([matrix("a", "A"), matrix("b", "A")], "not each used once"),
        ([matrix("a", "A"), matrix("b", "B"), matrix("b", "C")], "must be one each"),
        ([matrix("a", "A", np.array([0, 1])), matrix("b", "B")], "not as many"),
        ([Entry("a", "A", np.array([1, 1, 2])), matrix("b", "B")], "not each used once"),
    ],
)
def test_a_table_that_uses_something_twice_or_never_is_no_table(entries, message):
    with pytest.raises(ValueError, match=message):
        tensors_of(entries, {"a": (2, 3), "b": (2, 3)})


OWN = {
    "llama": {},
    "qwen3": {"qk_norm": "head"},
    "smollm3": {"layer_pattern": ("rope", "none")},
    "mistral": {"layer_pattern": ("rope/window:size=8",)},
}


@pytest.mark.parametrize("name", OWN)
def test_own_models_have_the_plainest_family_that_can_hold_them(name):
    model = changed(PLAIN, **OWN[name])
    scaling = RopeScaling("yarn", 4.0, 64)
    chosen, config = choose_family("", model, scaling, 256)
    assert chosen == name
    assert config["rope_scaling"]["factor"] == config["rope_parameters"]["factor"] == 4.0
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100.0


def test_models_without_positions_are_a_smollm3():
    model = changed(PLAIN, positions=position_settings(scheme="none"))
    assert choose_family("", model, UNSCALED, 256)[1]["no_rope_layers"] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "scaling", "field"),
    [
        ({"smeared_keys": True}, UNSCALED, "model.smeared_keys"),
        ({"attention_weights": "lssa"}, UNSCALED, "model.attention_weights"),
        (
            {"positions": position_settings(scheme="t5")},
            UNSCALED,
            r"layer_pattern\[0\] scheme: 't5'",
        ),
        ({"positions": position_settings(scheme="learned")}, UNSCALED, "model.positions.scheme"),
        ({"layer_pattern": ("rope/window:size=8,sinks=2",)}, UNSCALED, "2 sinks"),
        ({}, RopeScaling("power", exponent=0.3), "rope_scaling.kind='power'"),
        ({}, RopeScaling("none", log_n=64), "log n"),
    ],
)
def test_what_no_family_has_is_refused_by_name(changes, scaling, field):
    with pytest.raises(UserError, match=field):
        choose_family("", changed(PLAIN, **changes), scaling, 256)


def test_a_family_that_is_asked_for_says_what_it_lacks():
    assert "model.qk_norm" in expressed("llama", changed(PLAIN, qk_norm="head"), UNSCALED, 64)[1][0]
