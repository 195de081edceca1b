import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.model.config import BlockConfig
from lengthwise.model.transformer import init_params, logical_axes
from tests.model.decoder_reference import (
    CONFIG,
    PLAIN,
    VARIANTS,
    changed,
    compiled_init,
    position_settings,
)


def test_execution_choices_do_not_change_initial_parameters():
    plain = compiled_init(CONFIG, 7)
    other = compiled_init(changed(CONFIG, layer_execution="scan", remat="full"), 7)
    jax.tree.map(np.testing.assert_array_equal, plain, other)
    assert not np.array_equal(plain["embedding"], compiled_init(CONFIG, 8)["embedding"])


@pytest.mark.parametrize("layers", [2, 8])
def test_initial_residual_outputs_shrink_with_depth(layers):
    config = changed(PLAIN, layers=layers, embed_dim=64, mlp_dim=128, head_dim=16)
    params = compiled_init(config, 0)
    blocks = params["blocks"]
    residual = (2 * layers) ** -0.5
    expected = {
        ("attention", "query"): 64**-0.5,
        ("attention", "value"): 64**-0.5,
        ("mlp", "gate"): 64**-0.5,
        ("attention", "output"): residual * 64**-0.5,
        ("mlp", "down"): residual * 128**-0.5,
    }
    for (part, name), std in expected.items():
        weights = np.asarray(blocks[part][name])
        assert abs(weights.std() / std - 1) < 0.03
        assert abs(weights.mean()) < 0.05 * std
        assert not np.array_equal(weights[0], weights[1])
    assert abs(np.asarray(params["embedding"]).std() * 8 - 1) < 0.05
    assert all((s == 1).all() for s in (blocks["mlp_norm"]["scale"], params["final_norm"]["scale"]))


@pytest.mark.parametrize(
    "config", [CONFIG, PLAIN, *VARIANTS.values()], ids=["all_options", "plain", *VARIANTS]
)
def test_logical_axes_mirror_the_parameters(config):
    params = jax.eval_shape(lambda: init_params(config, 0))
    axes = logical_axes(config)
    sizes = {
        "layers": config.layers,
        "embed": config.embed_dim,
        "heads": config.num_heads * config.head_dim,
        "kv_heads": config.num_kv_heads * config.head_dim,
        "mlp": config.mlp_dim,
        "vocab": config.embedding_rows,
        None: config.head_dim,
    }

    def check(leaf, names):
        assert leaf.dtype == jnp.float32
        assert leaf.shape == tuple(sizes[name] for name in names)

    jax.tree.map(check, params, axes)
    assert all(names[0] == "layers" for names in jax.tree.leaves(axes["blocks"], is_leaf=is_tuple))
    assert ("unembedding" in params) != config.tie_embeddings


def is_tuple(x):
    return isinstance(x, tuple)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 0},
        {"attention_block": -1},
        {"num_kv_heads": 3},
        {"head_dim": 7},
        {"dropout": 1.0},
        {"logit_softcap": -1.0},
        {"compute_dtype": "float16"},
        {"layer_execution": "loop"},
        {"remat": "some"},
    ],
    ids=str,
)
def test_settings_without_meaning_name_their_field(changes):
    with pytest.raises(UserError, match=next(iter(changes))):
        changed(CONFIG, **changes)


def test_fewer_rows_than_ids_are_refused():
    with pytest.raises(UserError, match=r"model\.vocab_rows=30 is below the 31 ids"):
        changed(CONFIG, vocab_rows=30)


def test_a_parallel_block_has_no_norm_behind_its_branches():
    with pytest.raises(UserError, match=r"model\.block\.parallel goes with norm_placement='pre'"):
        BlockConfig(parallel=True, norm_placement="both")


def test_settings_of_one_scheme_have_parameters_of_their_own():
    pattern = ("fire:hidden=3", "fire:hidden=4", "fire:hidden=3")
    config = changed(
        PLAIN, layers=4, positions=position_settings(scheme="fire"), layer_pattern=pattern
    )
    positions = jax.eval_shape(lambda: init_params(config, 0))["positions"]
    layers = {key: {leaf.shape[0] for leaf in tree.values()} for key, tree in positions.items()}
    assert layers == {"fire": {3}, "fire_2": {1}}
