"""A small work directory to damage, and readers of its files as a run reads them."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lengthwise.common.files import write_json
from lengthwise.configs import base
from lengthwise.configs.base import RunConfig
from lengthwise.configs.resolve import flags_of, from_saved, load
from lengthwise.configs.saved_config import read_config
from lengthwise.data.layouts import SplitDocuments, build_layout
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore
from lengthwise.eval.answers.hits_file import HITS, load_hits, save_hits
from lengthwise.eval.answers.score import Hits
from lengthwise.eval.losses.curve_file import CURVES, Evaluation, load_evaluation, save_evaluation
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.report.run.run_page import account_sentences
from lengthwise.eval.report.training_log import TrainingLog, run_seconds
from lengthwise.eval.statistics.curves import Curve, ScorerResult, population
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.writer import MetricsWriter, read_rows
from lengthwise.train.programs.execution import PLAN, read_plan, write_plan

_WORDS = ("a", "text", "of", "some", "words", "in", "an", "order", "that", "nobody", "planned")


@functools.cache
def template() -> Path:
    """A work directory with every file that a run reads again but checkpoints; made once."""
    workdir = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, workdir, ignore_errors=True)
    corpus = workdir / "corpus"
    corpus.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        (corpus / f"{number}.txt").write_text(" ".join(rng.choice(_WORDS, 60)))
    config = base.get_config()
    config.data.source, config.data.path, config.data.workers = "text", str(corpus), 1
    config.data.tokenizer = "train:bpe:280"
    config.phase.layout.smallest_bucket, config.phase.layout.largest_bucket = 16, 64
    run = load(config, None)
    write_json(workdir / "config.json", run.resolved)
    prepare(run.data, workdir / "store")
    shutil.rmtree(corpus)
    _layout(run, workdir)
    _write_metrics(workdir)
    view = {"slices": 1, "data": 1, "context": 1, "tensor": 1}
    buckets = [{"phase": 0, "length": 64, "view": view, "microbatches": 1, "remat": "none"}]
    write_plan(workdir / PLAN, {"fingerprint": "f", "buckets": buckets})
    save_evaluation(_evaluation(), workdir / CURVES)
    hits_N = np.arange(6)
    save_hits([Hits(5, hits_N, hits_N + 1), Hits(9, hits_N, hits_N + 2)], workdir / HITS)
    return workdir


def _write_metrics(workdir: Path) -> None:
    writer = MetricsWriter(workdir, resume_step=0)
    figures = dict.fromkeys(
        ("seconds", "tokens_per_second", "flops_per_second", "peak_share", "data_wait_seconds"), 0.5
    )
    about = {"phase": 0, "loss": 3.0, "grad_norm": 1.0, "bucket": 64, "time": 1.0}
    for step in (1, 2, 3):
        writer.write({"kind": "train", "step": step, "tokens": 64 * step, **about, **figures})
    writer.write({"kind": "eval", "step": 3, "score": 2.5, "seconds": 0.1, "scores": {}})
    writer.write({"kind": "goodput", "step": 3, "time": 1.0, **Goodput().figures()})
    writer.close()


def _evaluation() -> Evaluation:
    nats_NK = np.random.default_rng(0).normal(3, 0.1, (6, 2))
    curve = Curve.of_loss(
        scorer="same_target_nll",
        method="plain",
        lengths=(64, 128),
        sums_NK=nats_NK,
        counts_NK=np.ones((6, 2)),
        clusters_N=np.arange(6),
        population=population("six documents"),
    )
    identity = RunIdentity("corpus", 3, 64, "rope")
    return Evaluation(
        name="run",
        seed=0,
        training="training",
        identity=identity,
        tokens={},
        length_p95=60,
        targets_by_length={64: 9},
        scored=ScorerResult((curve,)),
        seconds={"training": 1.0},
    )


def _layout(run: RunConfig, workdir: Path) -> list[np.ndarray]:
    store = TokenStore.open(workdir / "store", verify=True)
    documents = SplitDocuments(store, Split.TRAIN)
    config = run.phases[0].layout
    layout = build_layout(config, documents, 0, workdir / "layouts", verify=True)
    arrays = [layout.block_offsets]
    for bucket in layout.buckets.values():
        pieces = bucket.pieces(np.arange(bucket.rows))
        arrays += [bucket.groups.count, pieces.offsets, pieces.start, pieces.tokens]
    return arrays


# Each reader gives what came back, as far as a checksum vouches for it; "" where none does.


def read_run_config(workdir: Path) -> str:
    saved = read_config(workdir)
    if saved is not None:
        from_saved(saved)
        load(flags_of(saved), saved)  # of --workdir alone
    return ""


def read_store(workdir: Path) -> str:
    store = TokenStore.open(workdir / "store", verify=True)
    arrays = [
        *(store.document_offsets, store.document_splits, store.document_bytes),
        *(store.document_clusters, store.document_domains, store.document_groups),
    ]
    tokens = store.in_memory.read(0, store.manifest.num_tokens)
    encoded = store.tokenizer().encode_batch(["some words in an order"])
    return population(tokens, *arrays, *encoded, *store.document_names)


def read_layout(workdir: Path) -> str:
    saved = read_config(template())
    assert saved is not None
    return population(*_layout(from_saved(saved), workdir))


def read_metrics(workdir: Path) -> str:
    path = workdir / "metrics.jsonl"
    if path.exists():
        MetricsWriter(workdir, resume_step=2).close()
        rows = read_rows(path)
        TrainingLog(rows).speed()
        account_sentences(rows)
        run_seconds(rows)
    return ""


def read_the_plan(workdir: Path) -> str:
    if (workdir / PLAN).exists():
        read_plan(workdir / PLAN)
    return ""


def read_curves(workdir: Path) -> str:
    evaluation = load_evaluation(workdir)
    arrays = [curve.sums_NK for curve in evaluation.scored.curves]
    return population(*arrays, evaluation.name, evaluation.seed)


def read_hits(workdir: Path) -> str:
    hits = load_hits(workdir)
    return population(*(array for each in hits for array in (each.hits_N, each.tokens_N)))


READERS: dict[str, Callable[[Path], str]] = {
    "config.json": read_run_config,
    "store": read_store,
    "layouts": read_layout,
    "metrics.jsonl": read_metrics,
    PLAN: read_the_plan,
    str(CURVES): read_curves,
    str(HITS): read_hits,
}


@functools.cache
def intact(name: str) -> str:
    """What the reader gives of the undamaged directory."""
    return READERS[name](template())
