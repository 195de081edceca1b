"""Preparation on many machines: the passes and the near-duplicates as Apache Beam pipelines.

Needs `requirements-beam.txt`. The workers read the source and write the store through a file system
that all of them and the driver share (NFS, Filestore, gcsfuse); what passes through Beam itself are
band hashes, and the signatures of candidate pairs. Any runner will do: its flags are passed on.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.data.prepare.near_duplicates import alike, band_hashes, candidate_pairs
from lengthwise.data.prepare.ngram_tasks import packed_by_unit
from lengthwise.data.prepare.unit_records import (
    BUILDING,
    column,
    read_record,
    records,
    write_record,
)
from lengthwise.data.prepare.unit_tasks import Progress, ScanTask

_GROUP = 1 << 22  # documents per sort of one band's hashes
_CHUNK = 1 << 14  # pairs per element with signatures: 4 MB

# Elements of all steps: (key, arrays as bytes), few large ones in place of many small ones.
Keyed = tuple[Any, tuple[bytes, ...]]
AnyTask = TypeVar("AnyTask")


@dataclass(frozen=True)
class BeamPool:
    """`worker_pool` and `corpus_scan.local_edges` on a Beam runner."""

    flags: tuple[str, ...]  # of the runner, such as "--runner=DataflowRunner"
    directory: Path  # of the store, as the workers see it too

    def map(
        self, work: Callable[[AnyTask], Progress], tasks: Iterable[AnyTask]
    ) -> Iterator[Progress]:
        """Does all the tasks; yields what was done in all.

        Raises:
          UserError: of the first task that raised one; the others have been done.
        """
        tasks = list(tasks)
        if not tasks:
            return
        errors = self.directory / BUILDING / "errors"
        for path in errors.glob("*"):
            path.unlink()
        pipeline = beam.Pipeline(options=PipelineOptions(list(self.flags)))
        numbered = pipeline | beam.Create(list(enumerate(tasks)))
        _ = numbered | beam.Reshuffle() | beam.ParDo(_Work(work, errors))
        result = pipeline.run()
        result.wait_until_finish()
        for path in sorted(errors.glob("*"))[:1]:
            raise UserError(path.read_text(encoding="utf-8"))
        counters = result.metrics().query(MetricsFilter().with_namespace(_Work.__name__))
        done = {counter.key.metric.name: counter.result for counter in counters["counters"]}
        yield Progress(**{name: done.get(name, 0) for name in _COUNTERS})

    def edges(self, scans: Sequence[ScanTask], copies: np.ndarray, threshold: float) -> np.ndarray:
        """Near-duplicates with the components of `near_duplicate_edges`, int64 [E, 2]."""
        firsts = copies == np.arange(len(copies))
        sizes = [record["bytes"].size for record in records(scans, "bytes")]
        starts = np.cumsum([0, *sizes])
        signatures = tuple(_Signatures(scan.record, scan.key) for scan in scans)
        results = [_EdgesTask(self.directory, number) for number in range(len(scans))]
        for result in results:
            result.record.unlink(missing_ok=True)
        units = [
            _Unit(number, int(start), mask)
            for number, (start, mask) in enumerate(
                zip(starts[:-1], packed_by_unit(scans, firsts), strict=True)
            )
        ]
        pipeline = beam.Pipeline(options=PipelineOptions(list(self.flags)))
        (
            pipeline
            | beam.Create(units)
            | beam.Reshuffle()
            | "bands" >> beam.FlatMap(_bands, signatures, len(copies), threshold)
            | "same band" >> beam.GroupByKey()
            | "pairs" >> beam.FlatMap(_pairs, starts, len(copies))
            | "by second unit" >> beam.GroupByKey()
            | "signatures" >> beam.FlatMap(_attach, signatures, starts)
            | "by first unit" >> beam.GroupByKey()
            | "alike" >> beam.Map(_verify, signatures, starts, threshold, results)
        )
        pipeline.run().wait_until_finish()
        recorded = [result for result in results if result.record.exists()]
        return column(recorded, "edges") if recorded else np.zeros((0, 2), np.int64)


_COUNTERS = ("file_bytes", "documents", "tokens")


class _Work(beam.DoFn):
    """Runs a task; writes a user error to a file, since Beam would retry what raises."""

    def __init__(self, work: Callable[[Any], Progress], errors: Path) -> None:
        self._work = work
        self._errors = errors

    def process(self, element: tuple[int, Any]) -> None:
        number, task = element
        try:
            progress = self._work(task)
        except UserError as error:
            atomic_write(
                self._errors / f"{number:05d}", [str(error).encode("utf-8", "backslashreplace")]
            )
            return
        for name in _COUNTERS:
            Metrics.counter(type(self).__name__, name).inc(getattr(progress, name))


@dataclass(frozen=True)
class _Unit:
    number: int
    start: int  # its first document among all
    mask: bytes  # np.packbits of the documents that are first copies


@dataclass(frozen=True)
class _Signatures:
    """The record of a scan, without the source that a ScanTask carries."""

    record: Path
    key: str

    def read(self) -> np.ndarray:
        record = read_record(self, "signatures")
        if record is None:
            raise UserError(f"{self.record} disappeared during preparation; run again")
        signatures: np.ndarray = record["signatures"]
        return signatures


@dataclass(frozen=True)
class _EdgesTask:
    directory: Path
    number: int

    @property
    def record(self) -> Path:
        return self.directory / BUILDING / f"edges-{self.number:05d}.record"

    @property
    def key(self) -> str:
        return ""


def _bands(
    unit: _Unit, signatures: Sequence[_Signatures], num_documents: int, threshold: float
) -> Iterator[Keyed]:
    """Hashes and documents by band and range of hashes."""
    own = signatures[unit.number].read()
    chosen = np.flatnonzero(np.unpackbits(np.frombuffer(unit.mask, np.uint8)))
    bits = max(math.ceil(math.log2(num_documents / _GROUP)), 0)
    for band, hashes in enumerate(band_hashes(own[chosen], threshold)):
        ranges = hashes >> np.uint64(64 - bits) if bits else np.zeros(hashes.size, np.uint64)
        for part in np.unique(ranges).tolist():
            here = ranges == part
            yield (band, part), (hashes[here].tobytes(), (unit.start + chosen[here]).tobytes())


def _pairs(
    group: tuple[Any, Iterable[tuple[bytes, ...]]], starts: np.ndarray, num_documents: int
) -> Iterator[Keyed]:
    """Candidate pairs by the unit of the second."""
    hashes, ids = _joined(group[1])
    pairs = candidate_pairs(hashes.view(np.uint64), ids, num_documents)
    for unit, own in _by_unit(pairs[:, 1], starts):
        yield unit, (pairs[own].tobytes(),)


def _attach(
    group: tuple[int, Iterable[tuple[bytes, ...]]],
    signatures: Sequence[_Signatures],
    starts: np.ndarray,
) -> Iterator[Keyed]:
    """Pairs, each once, with the signature of the second, by the unit of the first."""
    unit, (flat,) = group[0], _joined(group[1])
    pairs = np.unique(flat.reshape(-1, 2), axis=0)
    own_signatures = signatures[unit].read()
    for first_unit, own in _by_unit(pairs[:, 0], starts):
        for chunk in np.split(own, range(_CHUNK, own.size, _CHUNK)):
            second = own_signatures[pairs[chunk, 1] - starts[unit]]
            yield first_unit, (pairs[chunk].tobytes(), second.tobytes())


def _verify(
    group: tuple[int, Iterable[tuple[bytes, ...]]],
    signatures: Sequence[_Signatures],
    starts: np.ndarray,
    threshold: float,
    results: Sequence[_EdgesTask],
) -> None:
    """Writes the pairs above the threshold."""
    unit = group[0]
    own_signatures = signatures[unit].read()
    edges = []
    for pair_bytes, second_bytes in group[1]:
        pairs = np.frombuffer(pair_bytes, np.int64).reshape(-1, 2)
        second = np.frombuffer(second_bytes, np.uint16).reshape(len(pairs), -1)
        same = alike(own_signatures[pairs[:, 0] - starts[unit]], second, threshold)
        edges.append(pairs[same])
    write_record(results[unit], {}, {"edges": np.concatenate(edges)})


def _joined(elements: Iterable[tuple[bytes, ...]]) -> list[np.ndarray]:
    """Concatenates the int64 arrays of many elements."""
    columns = zip(*elements, strict=True)
    return [np.frombuffer(b"".join(column), np.int64) for column in columns]


def _by_unit(ids: np.ndarray, starts: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Range of each unit's documents in `ids`."""
    if not ids.size:
        return
    units = np.searchsorted(starts, ids, side="right") - 1
    order = np.argsort(units, kind="stable")
    numbers, first = np.unique(units[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, first[1:]), strict=True)
