"""Contamination: overlap of word n-grams between evaluation sets and training text.

A document of an evaluation set, held out of this corpus or brought along, is compared by its
n-grams: the share of them that some training document holds too. A document with a large share is
contaminated. n = 13 words is the usual choice (Brown et al., arXiv 2005.14165, appendix C; Gao et
al., the Pile, arXiv 2101.00027), and 0.7 to 0.8 a usual share (PaLM, arXiv 2204.02311, section 8;
Llama 2, arXiv 2307.09288, appendix A.6).

All n-grams are compared, none sampled. The hashes of the evaluation sets' n-grams lie sorted in
parts of bounded size; the training text is read once a part, by all workers.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xxhash

from lengthwise.common.files import atomic_write
from lengthwise.data.config import ContaminationConfig
from lengthwise.data.prepare.corpus_scan import ScannedCorpus, run_units
from lengthwise.data.prepare.ngram_tasks import (
    CollectTask,
    MatchTask,
    collect_unit,
    match_unit,
    ngrams_path,
    packed_by_unit,
)
from lengthwise.data.prepare.unit_records import column, records
from lengthwise.data.prepare.unit_tasks import ScanTask
from lengthwise.data.prepare.worker_pool import Map
from lengthwise.data.sources import Source
from lengthwise.data.store.document_tables import NameTable
from lengthwise.data.store.splits import Split

LIST = "contamination.json"
_PART = 1 << 25  # n-grams compared in one reading of the training text: 0.25 GB a worker
COMMON = 10  # an n-gram in more clusters of training documents than this is a common phrase


@dataclass(frozen=True)
class SetOverlap:
    """Overlap of one evaluation set with the training text."""

    documents: int
    too_short: int  # documents of fewer words than an n-gram: not compared
    contaminated: int  # documents with at least the configured share found in training
    ngrams: int
    found: float  # share of the n-grams that training holds


@dataclass(frozen=True)
class Contamination:
    sets: dict[str, SetOverlap]
    documents: list[dict[str, Any]]  # those that share an n-gram, by share: set, name, ...
    held_out: np.ndarray  # bool [N]: contaminated documents of this corpus
    training: np.ndarray  # bool [N]: training documents that contaminate; none unless asked for
    training_names: list[str]  # of those

    def list_bytes(self, config: ContaminationConfig) -> bytes:
        """Contents of the JSON file of a store."""
        content = {
            "ngram": config.ngram,
            "share": config.share,
            "drop": config.drop,
            "sets": {name: asdict(overlap) for name, overlap in self.sets.items()},
            "documents": self.documents,
            "dropped_training_documents": self.training_names,
        }
        return (json.dumps(content, indent=1) + "\n").encode("ascii")


def find_contamination(
    pool: Map,
    scans: Sequence[ScanTask],
    corpus: ScannedCorpus,
    evaluation: Source | None,
    config: ContaminationConfig,
) -> Contamination:
    """Compares the held-out splits and the documents of `evaluation` with the training split.

    Documents that are dropped as duplicates belong to no split.

    Raises:
      UserError: as the sources do.
    """
    directory = scans[0].directory
    held_out = (corpus.splits != Split.TRAIN) & ~corpus.dropped
    collects = [
        CollectTask(scan.source, scan.unit, directory, "held-out", config.ngram, mask)
        for scan, mask in zip(scans, packed_by_unit(scans, held_out), strict=True)
    ]
    brought = []
    if evaluation:
        brought = [
            CollectTask(evaluation, unit, directory, "evaluation", config.ngram, b"")
            for unit in evaluation.units()
        ]
    run_units(pool, collect_unit, collects, "n-grams of held-out documents")
    if brought:
        run_units(pool, collect_unit, brought, "n-grams of evaluation sets")
    tasks = [*collects, *brought]
    names = [Split(split).name.lower() for split in corpus.splits[held_out].tolist()]
    for task, record in zip(brought, records(brought, "counts"), strict=True):
        names += [task.source.domains[task.unit.domain]] * record["counts"].size
    hashes, counts = column(tasks, "hashes"), column(tasks, "counts")
    distinct, inverse = np.unique(hashes, return_inverse=True)
    hits = _hits(pool, scans, corpus, distinct, config)
    overlaps = np.zeros(distinct.size, np.bool_)
    overlaps[hits[:, 1]] = True
    ends = np.cumsum(counts)
    sums = np.concatenate([[0], np.cumsum(overlaps[inverse])])
    overlapping = sums[ends] - sums[ends - counts]
    contaminated = (counts > 0) & (overlapping >= config.share * counts)
    of_corpus = np.zeros(held_out.size, np.bool_)
    of_corpus[np.flatnonzero(held_out)] = contaminated[: held_out.sum()]
    culprits = np.zeros(held_out.size, np.bool_)
    if config.drop == "training":
        contaminating = np.zeros(distinct.size, np.bool_)
        contaminating[inverse[np.repeat(contaminated, counts)]] = True
        culprits[_culprits(hits[contaminating[hits[:, 1]]], corpus.clusters)] = True
    return Contamination(
        _by_set(names, counts, overlapping, contaminated),
        _listed(tasks, names, counts, overlapping),
        of_corpus,
        culprits,
        _names(scans, culprits),
    )


def _hits(
    pool: Map,
    scans: Sequence[ScanTask],
    corpus: ScannedCorpus,
    distinct: np.ndarray,
    config: ContaminationConfig,
) -> np.ndarray:
    """Pairs of (training document, index into `distinct`), int64 [H, 2].

    The document is the first of its unit where nobody asks which it is.
    """
    directory = scans[0].directory
    training = packed_by_unit(scans, (corpus.splits == Split.TRAIN) & ~corpus.dropped)
    sizes = [record["bytes"].size for record in records(scans, "bytes")]
    firsts = np.cumsum(sizes) - sizes
    pairs = [np.zeros((0, 2), np.int64)]
    for part, start in enumerate(range(0, distinct.size, _PART)):
        ngrams = np.ascontiguousarray(distinct[start : start + _PART], "<u8")
        atomic_write(ngrams_path(directory, part), [ngrams.data])
        name = xxhash.xxh3_128_hexdigest(ngrams.data)
        by_document = config.drop == "training"
        tasks = [
            MatchTask(scan, config.ngram, mask, part, name, by_document)
            for scan, mask in zip(scans, training, strict=True)
        ]
        run_units(pool, match_unit, tasks, f"n-grams in training, part {part + 1}")
        for first, record in zip(firsts.tolist(), records(tasks, "hits"), strict=True):
            hits = record["hits"]
            pairs.append(np.stack([first + (hits >> 32), start + (hits & (2**32 - 1))], axis=1))
    return np.concatenate(pairs)


def _culprits(hits: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Training documents of those pairs, without the n-grams that are common phrases.

    As in GPT-3's filtering, an n-gram that very many documents hold says nothing of where a text
    comes from. Near-duplicates count once: copies of a test are no common phrase.
    """
    holders = np.unique(np.stack([hits[:, 1], clusters[hits[:, 0]]], axis=1), axis=0)
    ngrams, number = np.unique(holders[:, 0], return_counts=True)
    rare = np.isin(hits[:, 1], ngrams[number <= COMMON])
    return np.unique(hits[rare, 0])


def _names(scans: Sequence[ScanTask], mask: np.ndarray) -> list[str]:
    """Names of the documents of a mask, bool [N] of the corpus."""
    selection: list[str] = []
    first = 0
    for record in records(scans, "names", "name_sizes"):
        sizes = record["name_sizes"]
        names = NameTable(np.concatenate([[0], np.cumsum(sizes)]), record["names"])
        selection += [names[i] for i in np.flatnonzero(mask[first : first + sizes.size]).tolist()]
        first += sizes.size
    return selection


def _by_set(
    names: Sequence[str], counts: np.ndarray, overlapping: np.ndarray, contaminated: np.ndarray
) -> dict[str, SetOverlap]:
    sets, numbers = np.unique(np.array(names, np.str_), return_inverse=True)
    overlaps = {}
    for number, name in enumerate(sets.tolist()):
        own = numbers == number
        ngrams = int(counts[own].sum())
        overlaps[name] = SetOverlap(
            documents=int(own.sum()),
            too_short=int((counts[own] == 0).sum()),
            contaminated=int(contaminated[own].sum()),
            ngrams=ngrams,
            found=float(overlapping[own].sum() / max(ngrams, 1)),
        )
    return overlaps


def _listed(
    tasks: Iterable[CollectTask],
    sets: Sequence[str],
    counts: np.ndarray,
    overlapping: np.ndarray,
) -> list[dict[str, Any]]:
    """Documents with an n-gram that training holds, those with the largest share first."""
    listed = []
    first = 0
    for record in records(tasks, "names", "name_sizes"):
        sizes = record["name_sizes"]
        names = NameTable(np.concatenate([[0], np.cumsum(sizes)]), record["names"])
        for i in np.flatnonzero(overlapping[first : first + sizes.size]).tolist():
            ngrams, overlap = int(counts[first + i]), int(overlapping[first + i])
            share = round(overlap / ngrams, 6)
            listed.append(
                {"set": sets[first + i], "name": names[i], "ngrams": ngrams, "share": share}
            )
        first += sizes.size
    return sorted(listed, key=lambda item: -item["share"])
