"""The data of docs/data.md in a trainer that isn't ours: a bare optax loop, stopped and gone on."""

import re
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lengthwise.data.batches.documents import DocumentTokens
from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split

PAGE = Path(__file__).parents[3] / "docs" / "data.md"
(CODE,) = re.findall(r"```python\n(# Batches for.*?)```", PAGE.read_text(), re.S)


def bucketed(directory: Path) -> grain.IterDataset:
    """`dataset` of the page's code, over a store in `directory`."""
    names: dict[str, grain.IterDataset] = {}
    exec(CODE.replace("STORE", str(directory)), names)
    return names["dataset"]


def train(batches: list[HostBatch]) -> float:
    """Losses of a bigram model under SGD, summed."""
    optimizer = optax.sgd(0.5)
    table = jnp.zeros((257, 257))
    state, total = optimizer.init(table), 0.0

    @jax.jit
    def loss_of(table, inputs, targets):
        each = optax.softmax_cross_entropy_with_integer_labels(table[inputs], targets)
        return each.mean()

    for batch in batches:
        arrays = batch.arrays["inputs"], batch.arrays["targets"]
        loss, gradient = jax.value_and_grad(loss_of)(table, *arrays)
        updates, state = optimizer.update(gradient, state)
        table, total = optax.apply_updates(table, updates), total + float(loss)
    return total


def test_batches_go_on_from_grains_own_state(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "store")
    whole = list(bucketed(tmp_path / "store"))
    assert {batch.arrays["inputs"].size for batch in whole} == {512}
    assert len({batch.length for batch in whole}) > 1

    iterator = iter(bucketed(tmp_path / "store"))
    first = [next(iterator) for _ in range(7)]
    state = iterator.get_state()
    again = iter(bucketed(tmp_path / "store"))
    again.set_state(state)
    rest = list(again)
    assert [batch.step for batch in first + rest] == [batch.step for batch in whole]
    for one, other in zip(first + rest, whole, strict=True):
        np.testing.assert_array_equal(one.arrays["inputs"], other.arrays["inputs"])
    assert train(whole) / len(whole) < np.log(257)


def test_documents_are_a_random_access_source(config: DataConfig, tmp_path: Path) -> None:
    store = prepare(config, tmp_path / "store")
    documents = DocumentTokens(store)
    assert len(documents) == np.sum(store.document_splits[:] == Split.TRAIN)
    dataset = grain.MapDataset.source(documents).shuffle(seed=0)
    texts = {store.tokenizer().decode(dataset[i]) for i in range(len(documents))}
    names = [
        name
        for name, split in zip(store.document_names, store.document_splits[:], strict=True)
        if split == Split.TRAIN
    ]
    assert texts == {(tmp_path / "corpus" / name).read_text() for name in names}
