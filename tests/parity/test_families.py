"""Models of Hugging Face families, imported, against the figures of `transformers`.

families.json holds of each tiny model its config.json, its tensors' names and shapes, logits, and
64 greedy tokens. `make parity` computes them anew, see test_parity.py.
"""

import dataclasses
import functools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.cache import cache_capacity, empty_cache
from lengthwise.model.decode import Sampling, decode
from lengthwise.model.huggingface.export import choose_family, write_config, write_weights
from lengthwise.model.huggingface.families import gpt_neox
from lengthwise.model.huggingface.folder import WeightFolder, leaf_shapes
from lengthwise.model.huggingface.load import load_params
from lengthwise.model.huggingface.meaning import differing, meaning
from lengthwise.model.huggingface.safetensors import DTYPES, write_safetensors
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.spec import ModelSpec
from lengthwise.model.transformer import apply, extend, init_params, position_tables
from tests.parity import families

FROZEN = Path(__file__).parent / "families.json"
FRESH = os.environ.get("LENGTHWISE_PARITY_FIGURES")
FIGURES = json.loads((Path(FRESH) / "families.json" if FRESH else FROZEN).read_text())


def write_folder(path, name, dtype="F32"):
    """A folder as transformers would have saved it."""
    figures = FIGURES[name]
    shapes = {each: tuple(shape) for each, shape in figures["tensors"].items()}
    made = families.weights(shapes)
    arrays = {each: (DTYPES[dtype], shape) for each, shape in shapes.items()}
    write_safetensors(path / "model.safetensors", arrays, lambda each: made[each])
    (path / "config.json").write_text(json.dumps(figures["config"]))
    return path


def imported(path):
    """(model, its parameters) of a folder."""
    folder = WeightFolder(path)
    model = ModelSpec.of(folder.model, families.VOCABULARY, "cpu")
    abstract = jax.eval_shape(functools.partial(init_params, model), np.uint32(0))
    return model, load_params(folder, abstract)


@functools.partial(jax.jit, static_argnums=0)
def compiled(model, params, inputs, positions, tables):
    """One executable a model and length, of its true table and of wrong ones."""
    return apply(
        model,
        params,
        inputs,
        positions_BL=positions,
        segment_ids_BL=None,
        tables=tables,
        mask=CAUSAL,
        key=None,
    )


def logits(model, params, tokens):
    length, inputs = len(tokens), tokens[None].astype(np.int32)
    tables = position_tables(model, UNSCALED, UNSCALED, length)
    positions = np.arange(length, dtype=np.int32)[None]
    return np.asarray(compiled(model, params, inputs, positions, tables)[0])


def relative(ours, theirs):
    """The largest difference, relative to the largest logit."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("name", FIGURES)
def test_logits_are_those_of_transformers(tmp_path, name):
    model, params = imported(write_folder(tmp_path, name))
    lengths = (
        (families.SHORT, families.LENGTH)
        if model.rope_scaling.follows_length
        else (families.LENGTH,)
    )
    for length in lengths:
        ours = families.kept(logits(model, params, families.tokens(length)))
        assert relative(ours, np.array(FIGURES[name]["logits"][str(length)])) < 1e-4


@pytest.mark.parametrize("name", families.DECODED)
def test_greedy_tokens_are_those_of_transformers(tmp_path, name):
    model, params = imported(write_folder(tmp_path, name))
    model = dataclasses.replace(model, attention_block=16)
    capacity = cache_capacity(model, families.PROMPT + families.GENERATED)
    tables = position_tables(model, UNSCALED, UNSCALED, capacity)

    @jax.jit
    def run(params, prompt, tables):
        cache = empty_cache(model, tables, 1, jnp.arange(capacity, dtype=jnp.int32)[None])
        first = jnp.zeros(1, jnp.int32)
        _, _, cache = extend(
            model, params, prompt[:, :-1], cache, first, tables=tables, mask=CAUSAL
        )
        return decode(
            model,
            params,
            cache,
            prompt[:, -1],
            jnp.array([families.PROMPT], jnp.int32),
            jnp.zeros(1, jnp.int32),
            np.uint32(0),
            tables,
            mask=CAUSAL,
            sampling=Sampling(0.0, 0, 1.0),
            max_tokens=families.GENERATED,
            end_of_text=-1,
        )[0]

    written = run(params, families.tokens(families.PROMPT)[None].astype(np.int32), tables)
    np.testing.assert_array_equal(written[0], FIGURES[name]["greedy"])


def leaf_of(params):
    flat = jax.tree_util.tree_leaves_with_path(params)
    leaves = {jax.tree_util.keystr(p, simple=True, separator="."): np.asarray(x) for p, x in flat}
    return leaves.__getitem__


@pytest.mark.parametrize("name", FIGURES)
def test_export_gives_back_the_family_the_config_and_the_bytes(tmp_path, name):
    first = write_folder(tmp_path / "first", name, "BF16")
    model, params = imported(first)
    kind, again = FIGURES[name]["config"]["model_type"], tmp_path / "again"
    positions = WeightFolder(first).positions
    chosen, config = choose_family(kind, model, UNSCALED, positions)
    write_weights(again, chosen, model, leaf_of(params), "bfloat16", shard_bytes=6000)
    write_config(again, chosen, config, "bfloat16", {})
    other = WeightFolder(again)
    assert len(list(again.glob("*.safetensors"))) > 1
    there = ModelSpec.of(other.model, families.VOCABULARY, "cpu")
    assert differing(meaning(model), meaning(there)) == []
    whole = WeightFolder(first)
    for tensor, shape in FIGURES[name]["tensors"].items():
        rows = np.arange(shape[0])
        one, two = (each.read(tensor, rows, slice(None)) for each in (whole, other))
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one.view(np.uint16), two.view(np.uint16))


def third_wise(heads, head_dim, part, parts=3):
    """The wrong split of a matrix that goes head by head: of equal shapes."""
    return np.arange(heads * head_dim) + part * heads * head_dim


BROKEN = {
    "fused by thirds": ("gpt_neox", gpt_neox, "head_major", third_wise),
    "fused by thirds in bloom": ("bloom", gpt_neox, "head_major", third_wise),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_wrong_split_that_keeps_shapes_shows(tmp_path, monkeypatch, case):
    name, module, attribute, wrong = BROKEN[case]
    monkeypatch.setattr(module, attribute, wrong)
    model, params = imported(write_folder(tmp_path, name))
    ours = families.kept(logits(model, params, families.tokens(families.LENGTH)))
    theirs = np.array(FIGURES[name]["logits"][str(families.LENGTH)])
    assert relative(ours, theirs) > 1e-2


@pytest.mark.parametrize("name", [name for name in FIGURES if "," not in name])
def test_tensors_of_equal_shapes_are_told_apart(tmp_path, monkeypatch, name):
    """Each table, two of its leaves of one shape exchanged."""
    path = write_folder(tmp_path, name)
    family = type(WeightFolder(path).family)
    table = family.table

    def exchanged(self, model):
        entries = table(self, model)
        shapes = leaf_shapes(model)
        at = {entry.ours: number for number, entry in enumerate(entries)}
        pair = ("blocks.attention.key", "blocks.attention.value")
        one, other = (at[each] for each in pair)
        assert shapes[pair[0]] == shapes[pair[1]]
        entries[one], entries[other] = (
            dataclasses.replace(entries[i], ours=entries[j].ours)
            for i, j in ((one, other), (other, one))
        )
        return entries

    monkeypatch.setattr(family, "table", exchanged)
    model, params = imported(path)
    ours = families.kept(logits(model, params, families.tokens(families.LENGTH)))
    theirs = np.array(FIGURES[name]["logits"][str(families.LENGTH)])
    assert relative(ours, theirs) > 1e-2
