"""Scores by domain: planted differences are found, and who has too few documents is named."""

import dataclasses

import numpy as np
import pytest

from lengthwise.data.store.splits import Split
from lengthwise.eval.losses.evaluate import evaluate
from lengthwise.eval.losses.results import (
    GAIN,
    SAME_TARGET_NLL,
    RunIdentity,
    load_results,
    save_results,
)
from lengthwise.eval.losses.targets import choose_by_domain, choose_targets
from tests.eval.planted import VOCAB, CountingScorer, Documents, eval_config

L_TRAIN = 32
DOMAINS = ("skewed", "uniform", "rare")
IDENTITY = RunIdentity("corpus-1", 10, L_TRAIN, "rope")


def documents(counts=(60, 12, 6), length=400):
    """Documents of the first domain have odds of their own; the others' are even dice."""
    rng = np.random.default_rng(0)
    texts, splits, domains = [], [], []
    for domain, count in enumerate(counts):
        for number in range(2 * count):
            odds = rng.dirichlet(np.full(VOCAB // 2, 0.5)) if domain == 0 else None
            first = 0 if domain == 0 else VOCAB // 2
            texts.append(first + rng.choice(VOCAB // 2, size=length, p=odds))
            splits.append(Split.SELECTION if number % 2 else Split.REPORT)
            domains.append(domain)
    return Documents(texts, splits, list(range(len(texts))), domains)


def scorer(tokens):
    """Knows that the upper half of the vocabulary is even dice, and counts in the lower one."""
    even = tokens[:, 1:] >= VOCAB // 2
    return np.where(even, np.float32(np.log(VOCAB // 2)), CountingScorer(memory=1000)(tokens))


def forget_nothing(setting):
    return scorer


@pytest.fixture(scope="module")
def results():
    return evaluate(
        documents(), forget_nothing, IDENTITY, eval_config(), DOMAINS, None, reads_positions=True
    )


def test_each_domain_has_its_own_gain(results):
    gains = {
        name: results.select(metric=GAIN, role="domain", domain=name, method="plain", context=128)
        for name in DOMAINS
    }
    assert gains["skewed"][0].low > 0.01
    assert gains["uniform"][0].value == pytest.approx(0, abs=1e-6)
    assert not gains["rare"]
    assert all(row.domain == "" for row in results.rows if row.role != "domain")


def test_a_domain_with_too_few_documents_is_left_out_by_name(results):
    (sentence,) = results.left_out
    assert "rare has 6 independent documents of at least 129 tokens" in sentence


def test_the_scores_of_all_domains_do_not_depend_on_those_by_domain(results):
    alone = evaluate(
        documents(), forget_nothing, IDENTITY, eval_config(), ("all",), None, reads_positions=True
    )
    together = tuple(row for row in results.rows if row.role != "domain")
    assert together == alone.rows
    assert alone.left_out == ()


def test_domains_are_topped_up_to_an_equal_share_from_their_own_documents():
    source, config = documents(), eval_config()
    report = choose_targets(source, Split.REPORT, 64, config)
    chosen, _ = choose_by_domain(report, DOMAINS, config)
    assert set(chosen) == {"skewed", "uniform"}
    for number, name in enumerate(("skewed", "uniform")):
        ids = chosen[name]
        assert set(source.document_domains[ids]) == {number}
        assert set(source.document_splits[ids]) == {Split.REPORT}
        mine = report.documents_N[source.document_domains[report.documents_N] == number]
        assert set(mine) <= set(ids)
        assert len(ids) >= config.documents // len(DOMAINS)
    few = np.isin(report.documents_N, chosen["uniform"]).sum()
    assert few < len(chosen["uniform"]), "the example needs a domain that is topped up"


def test_domains_survive_json(results, tmp_path):
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
    (row, *_) = results.select(metric=SAME_TARGET_NLL, role="domain", domain="uniform")
    assert dataclasses.asdict(row)["n_clusters"] == row.n_documents <= 12
