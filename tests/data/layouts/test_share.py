"""A share of the training documents: which ones, and that nothing else is read."""

from dataclasses import replace

import numpy as np
import pytest

from lengthwise.configs.resolve import load
from lengthwise.data.layouts import SplitDocuments
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split
from lengthwise.train.phases import Phases
from lengthwise.train.seeds import Seeds
from tests import tiny


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(config of a tiny run, its store)."""
    folder = tmp_path_factory.mktemp("share")
    config = tiny.get_config()
    config.data.source, config.data.path = "text", str(tiny.write_corpus(folder / "corpus"))
    experiment = load(config, None)
    return experiment, prepare(experiment.data, folder / "store")


def ids(store, share, seed):
    documents = SplitDocuments(store, Split.TRAIN, share, seed)
    count = store.manifest.num_documents
    halves = [documents.select(0, count // 2), documents.select(count // 2, count)]
    found = np.concatenate(halves)
    np.testing.assert_array_equal(found, documents.select(0, count))
    return set(found.tolist())


def test_a_share_goes_by_the_seed_and_lies_in_larger_ones(stored):
    _, store = stored
    whole = ids(store, 1.0, 3)
    assert whole == set(np.flatnonzero(store.document_splits == Split.TRAIN).tolist())
    shares = [ids(store, share, 3) for share in (0.1, 0.4, 0.7)]
    assert shares[0] < shares[1] < shares[2] < whole
    n = len(whole)
    for share, found in zip((0.1, 0.4, 0.7), shares, strict=True):
        assert abs(len(found) - share * n) < 4 * np.sqrt(n * share * (1 - share))
    assert ids(store, 0.4, 4) != shares[1]


def test_the_rows_are_of_the_documents_of_the_share(stored):
    experiment, store = stored
    seeds = Seeds(**dict.fromkeys(("initialization", "order", "buckets", "dropout"), 5))
    (config,) = experiment.phases
    config = replace(config, sampling=replace(config.sampling, share=0.3))
    (phase,) = Phases([config], store, seeds).phases
    (whole,) = Phases(experiment.phases, store, seeds).phases
    tokens, kept = np.diff(store.document_offsets), ids(store, 0.3, 5)
    assert phase.layout.accounting.documents == len(kept)
    assert phase.layout.accounting.document_tokens == sum(int(tokens[i]) for i in kept)
    assert phase.layout.fingerprint != whole.layout.fingerprint
    other = Phases([config], store, replace(seeds, order=6)).phases[0]
    assert other.layout.fingerprint != phase.layout.fingerprint
