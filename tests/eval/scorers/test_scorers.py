"""The scorers' own arithmetic, against brute force and other implementations."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from lengthwise.common.errors import UserError
from lengthwise.data.store.tokenizers import IdsTokenizer
from lengthwise.eval.config import tested_contexts as contexts_of
from lengthwise.eval.inference.scorer import Method, Setting, TargetScores
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scorers.power_law import Bins, excess, fit
from lengthwise.eval.scorers.sliding_window import windows
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.factory import make_scorers
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from tests.eval.planted import VOCAB, Documents, eval_config, skewed_documents
from tests.eval.readers import BYTES, Uniform

IDS = IdsTokenizer(VOCAB + 1, VOCAB)


def bench(lengths=(32, 64, 128), l_train=32, source=None, **changes):
    config = eval_config(**changes)
    return Bench(source or skewed_documents(24, 300), IDS, config, l_train, lengths, "c", "")


@given(st.integers(1, 300), st.integers(1, 64), st.data())
def test_every_target_is_scored_once_with_all_the_context_that_the_window_has(
    targets, window, data
):
    stride = data.draw(st.integers(1, window))
    scored = []
    for start, first in windows(targets, window, stride):
        last = min(start + window, targets)
        scored += range(first, last + 1)
        assert start >= 0
        if start:  # of those that don't stand at the beginning
            assert first - start >= window - stride + 1
    assert scored == list(range(1, targets + 1))


def test_the_mean_is_over_tokens_and_documents_are_never_joined():
    class Numbers:
        """Nats that are the target's own number; what stands in the row is the document's."""

        def __call__(self, tokens):
            real = tokens[:, 1:] < 10**6
            assert (np.diff(tokens, axis=1)[real] == 1).all()  # one document, in its order
            return np.where(real, tokens[:, 1:] % 1000, 10**6).astype(np.float32)

    lengths = [140, 333, 200, 150, 171, 160, 139, 150]
    texts = [1000 * i + np.arange(n) for i, n in enumerate(lengths)]
    source = Documents(texts, [2] * len(texts), list(range(len(texts))))
    config, ids = eval_config(scorers=("sliding_window",)), IdsTokenizer(10**6 + 1, 10**6)
    (scorer,) = make_scorers(Bench(source, ids, config, 32, (32, 64, 128), "c", ""))
    method = Method("plain", lambda context: Setting(), lambda setting: Numbers())
    scorer._without_context = lambda _: np.zeros(len(texts))
    plain = scorer([method]).curves[0]
    sizes = [min(n, 257) - 1 for n in lengths]
    assert plain.counts_NK[:, 0].tolist() == sizes
    expected = [sum(range(1, n + 1)) for n in sizes]
    assert plain.sums_NK.T.tolist() == [expected] * 3


def test_short_documents_are_scored_whole_and_long_ones_not_at_all():
    class Numbers:
        """Nats that are the target's own number; the document stands first in its row."""

        def __call__(self, tokens):
            assert tokens.shape[1] == 33
            assert (tokens[:, 0] % 1000 == 0).all()
            return np.where(tokens[:, 1:] < 10**6, tokens[:, 1:] % 1000, 10**6).astype(np.float32)

    sizes = [1, 2, 5, 32, 33, 34, 150, 7, 9]
    texts = [1000 * i + np.arange(n) for i, n in enumerate(sizes)]
    source = Documents(texts, [2] * len(texts), list(range(len(texts))))
    ids, lengths = IdsTokenizer(10**6 + 1, 10**6), (32, 64, 128)
    config = eval_config(scorers=("short_documents",), min_documents=5)
    (scorer,) = make_scorers(Bench(source, ids, config, 32, lengths, "c", ""))
    (curve,) = scorer([Method("plain", lambda c: Setting(), lambda s: Numbers())]).curves
    short = [2, 5, 32, 7, 9]
    assert curve.lengths == (32,)
    assert curve.counts_NK[:, 0].tolist() == [n - 1 for n in short]
    assert curve.sums_NK[:, 0].tolist() == [sum(range(n)) for n in short]
    with pytest.raises(UserError, match=r"5 independent documents of 2 to 32 tokens.*min_doc"):
        make_scorers(Bench(source, ids, replace(config, min_documents=6), 32, lengths, "c", ""))


def test_rows_of_copies_are_as_the_paper_has_them():
    rows = {}

    class Noted:
        def targets(self, tokens, positions=None):
            rows.setdefault(tokens.shape[1] - 1, []).append(tokens)
            greedy = np.zeros((len(tokens), tokens.shape[1] - 1), bool)
            greedy[:, -8:] = True
            return TargetScores(greedy.astype(np.float32), greedy)

    (scorer,) = make_scorers(bench((31, 32, 64), documents=12, scorers=("forgetting",)))
    scored = scorer([Method("plain", lambda c: Setting(), lambda s: Noted())])
    for length, calls in rows.items():
        copy, alone = calls
        n = (length - 2) // 2
        x = copy[:, 1 : n + 1]
        assert (x == copy[:, n + 2 : 2 * n + 2]).all()
        assert (x == alone[:, n + 2 : 2 * n + 2]).all()
        assert (alone[:, 1 : n + 1] != x).any(axis=1).all()
        ends = [0, n + 1, *range(2 * n + 2, length + 1)]
        assert (copy == VOCAB)[:, ends].all()
        assert (copy == VOCAB).sum() == (alone == VOCAB).sum() == len(copy) * len(ends)
    (accuracy,) = (c for c in scored.curves if (c.metric, c.control) == ("token_accuracy", "plain"))
    # The last half of x: 7 of 14, 8 of 15 and 16 of 31. Greedy are the last 8 targets of the row,
    # of which one is the end of text, or two in rows of an odd length.
    assert accuracy.counts_NK[0].tolist() == [7, 8, 16]
    assert accuracy.sums_NK[0].tolist() == [6, 7, 7]


class Counted(Uniform):
    """Counts the rows that it is asked to score, by their length."""

    def __init__(self):
        super().__init__(257)
        self.rows = Counter()

    def targets(self, tokens, positions=None):
        self.rows[tokens.shape[1] - 1] += len(tokens)
        return super().targets(tokens, positions)


@pytest.mark.parametrize(
    "asked",
    [
        *({"scorers": (name,)} for name in ("forgetting", "sliding_window", "needle_depth")),
        {"tasks": ("passkey",)},
    ],
    ids=str,
)
def test_methods_that_share_a_scorer_share_its_pass(asked):
    """Up to the training length all methods are the plain model, which is scored once."""
    lengths, l_train = (128, 256), 128
    texts = [np.random.default_rng(i).integers(97, 122, 600) for i in range(40)]
    source = Documents(texts, [2] * len(texts), list(range(len(texts))))
    config = eval_config(documents=20, prompts=2, **asked)
    (scorer,) = make_scorers(Bench(source, BYTES, config, l_train, lengths, "c", ""))
    rows = []
    for others in (0, 2):
        plain = Counted()
        scorers = {UNSCALED: plain}
        for factor in range(others):
            scorers[RopeScaling("linear", 2.0 + factor)] = Counted()
        methods = [
            Method(
                f"method {number}",
                lambda c, scaling=scaling: Setting(scaling if c > l_train else UNSCALED),
                lambda setting, scorers=scorers: scorers[setting.scaling],
            )
            for number, scaling in enumerate(scorers)
        ]
        assert len(scorer(methods).curves) % (others + 1) == 0
        rows.append(plain.rows)
    assert rows[0] == rows[1]


def test_controls_of_prompts_up_to_the_training_length_are_those_prompts():
    """Their last tokens are all of them, and no position ids are far: scored once."""
    texts = [np.random.default_rng(i).integers(97, 122, 600) for i in range(40)]
    source = Documents(texts, [2] * len(texts), list(range(len(texts))))
    config = eval_config(documents=20, prompts=2, tasks=("passkey",))
    (scorer,) = make_scorers(Bench(source, BYTES, config, 256, (256, 512), "c", ""))
    plain = Counted()
    curves = scorer([Method("plain", lambda c: Setting(), lambda s: plain)]).curves
    # 2 prompts with 4 candidates each: plain, near and easy at 256; beyond, truncated and far too.
    assert plain.rows[256] == 2 * 4 * (3 + 2)
    assert plain.rows[512] == 2 * 4 * 3
    assert len({curve.control for curve in curves}) == 6


def law(x, a, b, c):
    return a * x**b + c


def bins_of(edges):
    edges = np.array(edges)
    return Bins(edges[:-1] + 1, edges[1:])


@pytest.mark.parametrize("b", [-2.0, -1.0, -0.3, -0.05])
def test_the_mean_power_is_that_of_the_positions(b):
    bins = bins_of([7, 9, 16, 100, 1000])
    pairs = zip(bins.from_J, bins.most_J, strict=True)
    brute = [np.mean(np.arange(first, most + 1.0) ** b) for first, most in pairs]
    np.testing.assert_allclose(bins.mean_power(b), brute, rtol=4e-3)


@pytest.mark.parametrize("truth", [(3, -0.5, 1.5), (1.2, -0.1, 0.0), (5, -1.3, 2.0)])
def test_the_fit_finds_the_law_and_agrees_with_scipy(truth):
    bins = bins_of(np.unique(np.round(8 * 2 ** (np.arange(25) / 4)).astype(int)))
    loss = truth[0] * bins.mean_power(truth[1]) + truth[2]
    found = fit(bins, loss)
    np.testing.assert_allclose((found.a, found.b, found.c), truth, rtol=1e-4, atol=1e-4)
    noisy = loss + np.random.default_rng(0).normal(0, 0.01, loss.shape)
    found = fit(bins, noisy)
    centers = np.sqrt((bins.from_J - 0.5) * (bins.most_J + 0.5))
    (a, b, c), _ = curve_fit(law, centers, noisy, truth, sigma=bins.counts_J**-0.5, maxfev=20_000)
    far = bins_of([512, 1024, 2048])
    np.testing.assert_allclose(found.over(far), law(np.array([740, 1480]), a, b, c), atol=4e-3)


def test_intervals_of_the_excess_hold_the_uncertainty_of_the_fit():
    """The parts by document against the fit made anew in every resample."""
    rng = np.random.default_rng(1)
    near, far = bins_of([8, 11, 16, 23, 32, 45, 64]), bins_of([64, 128, 256])
    documents = 60
    shape = rng.normal(0, 0.3, (documents, 1))
    each = (3 + shape) * near.mean_power(-0.4) + 1 + rng.normal(0, 0.1, (documents, 6))
    beyond = (3 + shape) * far.mean_power(-0.4) + 1.1 + rng.normal(0, 0.1, (documents, 2))
    near_NJ, far_NK = each * near.counts_J, beyond * far.counts_J
    parts, _ = excess(near_NJ, near, far_NK, far)
    value = parts.mean(axis=0) / far.counts_J
    direct = beyond.mean(axis=0) - fit(near, each.mean(axis=0)).over(far)
    np.testing.assert_allclose(value, direct, atol=1e-12)
    drawn, refit = [], []
    for _ in range(300):
        some = rng.integers(documents, size=documents)
        drawn.append(parts[some].mean(axis=0) / far.counts_J)
        refit.append(beyond[some].mean(axis=0) - fit(near, each[some].mean(axis=0)).over(far))
    np.testing.assert_allclose(np.std(drawn, axis=0), np.std(refit, axis=0), rtol=0.15)
    fixed = (far_NK / far.counts_J).std(axis=0) / np.sqrt(documents)
    assert (np.std(refit, axis=0) < 0.9 * fixed).any() or (
        np.std(refit, axis=0) > 1.1 * fixed
    ).any()


def test_tested_contexts_hold_absolute_lengths():
    assert contexts_of(eval_config(lengths=(48, 4096)), 32) == (16, 32, 48, 64, 128, 4096)
    with pytest.raises(UserError, match=r"smallest of eval\.ratios and eval\.lengths"):
        contexts_of(eval_config(lengths=(1,), targets_per_row=2), 32)


def test_a_task_of_a_scorers_name_is_refused_beside_it(monkeypatch):
    monkeypatch.setitem(TASKS._registered, "forgetting", TASKS["passkey"])
    with pytest.raises(UserError, match="'forgetting' is a scorer as well"):
        make_scorers(bench(scorers=("forgetting",), tasks=("forgetting",)))


def test_what_cannot_be_scored_is_refused_in_a_line():
    uneven = SCORERS.settings({"sliding_window": {"stride_share": 0.33}}, "eval")
    for changes, words in (
        ({"scorers": ("nope",)}, "'nope' is unknown; choose one of forgetting"),
        ({"tasks": ("nope",)}, "'nope', which is unknown; choose among .*passkey"),
        ({"tasks": ("passkey",)}, "a tokenizer of text"),
        ({"scorers": ("sliding_window",), "scorer_settings": uneven}, "whole numbers"),
        ({"prompting": ("telepathy",)}, "choose among few_shot, scratchpad"),
    ):
        with pytest.raises(UserError, match=words):
            make_scorers(bench(**changes))
    with pytest.raises(UserError, match="8 tokens or more"):
        make_scorers(bench((4, 6), scorers=("forgetting",)))
    with pytest.raises(UserError, match="it needs 32 tokens to fit"):
        make_scorers(bench((16, 32), 16, scorers=("power_law",)))
    assert [s.name for s in make_scorers(bench(scorers=("forgetting", "power_law")))] == [
        "forgetting",
        "power_law",
    ]
