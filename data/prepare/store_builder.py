"""Builds a token store: the passes over the corpus in order, then tables and manifest."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.common.hub import HUB
from lengthwise.common.paths import user_path
from lengthwise.data.config import DataConfig, content
from lengthwise.data.prepare.contamination import LIST, Contamination, find_contamination
from lengthwise.data.prepare.corpus_scan import (
    FindEdges,
    ScannedCorpus,
    SplitRule,
    corpus_of,
    run_units,
    train_tokenizer,
    without,
)
from lengthwise.data.prepare.ngram_tasks import packed_by_unit
from lengthwise.data.prepare.source_listing import source_changes
from lengthwise.data.prepare.store_writer import (
    is_scanned_and_tokenized,
    scan_and_tokenize_unit,
    scan_unit,
    tokenize_unit,
)
from lengthwise.data.prepare.token_shards import merged_unknown_text
from lengthwise.data.prepare.unit_records import BUILDING, column, columns, records
from lengthwise.data.prepare.unit_tasks import ScanTask, TokenizeTask
from lengthwise.data.prepare.worker_pool import Map
from lengthwise.data.sources import Source, Unit, make_source
from lengthwise.data.sources.mixture import EvaluationSets, errors_of_items
from lengthwise.data.store import token_store
from lengthwise.data.store.document_tables import (
    TABLES,
    TableEntry,
    table_path,
    write_file,
    write_table,
)
from lengthwise.data.store.shard_reader import ShardEntry
from lengthwise.data.store.token_store import Manifest, token_dtype
from lengthwise.data.store.tokenizers import (
    begin_of_text,
    is_file,
    load_tokenizer,
    tokenizer_path,
    trained_vocab_size,
)


class StoreBuilder:
    """Build of one store; `build` takes the pool that runs the work.

    Raises:
      UserError: sources or tokenizer that can't be used, before anything is read.
    """

    def __init__(self, config: DataConfig, directory: Path) -> None:
        self.config = config
        self.directory = directory
        self.source: Source = make_source(config.sources, ids=config.ids)
        self.units: list[Unit] = self.source.units()
        self.evaluation: Source | None = None
        if config.contamination.sources:
            evaluation_sets = config.contamination.sources
            with errors_of_items(tuple(each.domain for each in evaluation_sets)):
                made = make_source(evaluation_sets, ids=config.ids)
            self.evaluation = EvaluationSets(made)
            self.evaluation.units()
        self._trains = trained_vocab_size(config.tokenizer)
        vocab_size = 0
        if self._trains is None:
            # A name of the hub is looked up once: workers load the file.
            is_named = config.tokenizer.startswith(HUB)
            self._named = str(tokenizer_path(config.tokenizer)) if is_named else config.tokenizer
            tokenizer = load_tokenizer(self._named, config.end_of_text_token)
            begin_of_text(tokenizer, config.begin_with)
            vocab_size = tokenizer.vocab_size if config.ids else 0
        self.scans = [
            ScanTask(self.source, unit, directory, vocab_size, config.near_duplicate_threshold > 0)
            for unit in self.units
        ]

    def build(self, pool: Map, find_edges: FindEdges) -> None:
        """Builds the store.

        Args:
          pool: does the tasks of units.
          find_edges: finds near-duplicates among the scanned documents.

        Raises:
          UserError: as sources, splits and tokenizers do; no room to write.
        """
        (self.directory / BUILDING).mkdir(exist_ok=True)
        sources = self.config.sources
        if changes := source_changes(self.directory, sources, self.source, self.units):
            print(f"note: {changes}", flush=True)
        if self._reads_once():
            name = self._named
            tasks = self._tokenize_tasks(name, [b""] * len(self.scans))
            what, done = "scanning and tokenizing", is_scanned_and_tokenized
            run_units(pool, scan_and_tokenize_unit, tasks, what, done)
            corpus, contamination = self._corpus(pool, find_edges)
        else:
            run_units(pool, scan_unit, self.scans, "scanning")
            corpus, contamination = self._corpus(pool, find_edges)
            name = self._tokenizer_name(corpus)
            tasks = self._tokenize_tasks(name, packed_by_unit(self.scans, corpus.dropped))
            run_units(pool, tokenize_unit, tasks, "tokenizing")
        self._finish(name, corpus, contamination, tasks)

    def _reads_once(self) -> bool:
        """Whether tokens depend on nothing that the whole corpus decides: one reading is enough."""
        drops = self.config.duplicates != "keep" or self.config.contamination.drop != "none"
        return self._trains is None and not drops

    def _corpus(
        self, pool: Map, find_edges: FindEdges
    ) -> tuple[ScannedCorpus, Contamination | None]:
        config = self.config
        rule = SplitRule(
            config.selection_share,
            config.report_share,
            config.split_seed,
            config.near_duplicate_threshold,
            config.duplicates,
        )
        corpus = corpus_of(self.scans, rule, find_edges)
        check = config.contamination
        if not check.ngram:
            return corpus, None
        contamination = find_contamination(pool, self.scans, corpus, self.evaluation, check)
        if check.drop == "held_out":
            corpus = without(corpus, contamination.held_out)
        elif check.drop == "training":
            corpus = without(corpus, contamination.training)
        return corpus, contamination

    def _tokenize_tasks(self, name: str, dropped: Sequence[bytes]) -> list[TokenizeTask]:
        config = self.config
        tokenizer = load_tokenizer(name, config.end_of_text_token)
        begin = begin_of_text(tokenizer, config.begin_with)
        return [
            TokenizeTask(
                scan,
                name,
                config.end_of_text_token,
                tokenizer.describe(),
                config.shard_tokens,
                config.sources[scan.unit.domain].skip_empty,
                config.unknown_text == "allow",
                begin,
                own,
            )
            for scan, own in zip(self.scans, dropped, strict=True)
        ]

    def _tokenizer_name(self, corpus: ScannedCorpus) -> str:
        """Argument of load_tokenizer; trains the tokenizer where the config says so."""
        config = self.config
        if self._trains is None:
            return self._named
        # Named by what it was trained on, so that a continued preparation finds the right one.
        inputs = f"{corpus.fingerprint} {self._trains} {config.end_of_text_token}".encode()
        name = hashlib.blake2b(inputs, digest_size=8).hexdigest()
        path = self.directory / BUILDING / f"tokenizer-{name}.json"
        if not path.exists():
            end = config.end_of_text_token
            atomic_write(path, [train_tokenizer(self.scans, corpus, self._trains, end)])
        return str(path)

    def _finish(
        self,
        tokenizer_name: str,
        corpus: ScannedCorpus,
        contamination: Contamination | None,
        tasks: Sequence[TokenizeTask],
    ) -> None:
        """Writes the tables and, last, the manifest."""
        config, directory = self.config, self.directory
        tokenizer = load_tokenizer(tokenizer_name, config.end_of_text_token)
        lengths = column(tasks, "lengths")
        kept = lengths > 0
        if not kept.any():
            raise UserError(
                f"the corpus is empty: no document has a token under {config.tokenizer}"
            )
        tables = write_tables(directory, self.scans, lengths, corpus)
        if is_file(tokenizer_name):
            text = user_path(tokenizer_name, "data.tokenizer").read_bytes()
            tables[token_store.TOKENIZER] = write_file(directory / token_store.TOKENIZER, [text])
        if contamination:
            text = contamination.list_bytes(config.contamination)
            tables[LIST] = write_file(directory / LIST, [text])
        skipped = sum((Counter(record["skipped"]) for record in records(tasks)), corpus.skipped)
        for unit in self.units:
            skipped.update(dict(unit.left_out))
        begin = begin_of_text(tokenizer, config.begin_with)
        begins = "" if begin is None else f" {begin}"
        fingerprint = f"{corpus.fingerprint} {tokenizer.describe()}{begins}".encode()
        shards = [ShardEntry(**shard) for record in records(tasks) for shard in record["shards"]]
        sets = contamination.sets.items() if contamination else ()
        manifest = Manifest(
            format_version=token_store.FORMAT_VERSION,
            source=self.source.describe(),
            tokenizer=tokenizer.describe(),
            end_of_text_token=config.end_of_text_token if is_file(tokenizer_name) else "",
            vocab_size=tokenizer.vocab_size,
            end_of_text=tokenizer.end_of_text,
            begin_of_text=begin,
            dtype=token_dtype(tokenizer.vocab_size).str,
            num_documents=int(kept.sum()),
            num_tokens=int(lengths.sum()),
            num_bytes=int(corpus.num_bytes[kept].sum()),
            domains=tuple(self.source.domains),
            corpus_fingerprint=corpus.fingerprint,
            fingerprint=hashlib.blake2b(fingerprint, digest_size=8).hexdigest(),
            shards=tuple(shards),
            tables=tables,
            skipped=dict(sorted(skipped.items())),
            bad_records=corpus.bad_records,
            unknown_text=merged_unknown_text(record["unknown_text"] for record in records(tasks)),
            contamination={name: asdict(overlap) for name, overlap in sets},
            config=content(config),
        )
        atomic_write(directory / token_store.MANIFEST, [token_store.manifest_bytes(manifest)])


def write_tables(
    directory: Path, scans: Sequence[ScanTask], lengths: np.ndarray, corpus: ScannedCorpus
) -> dict[str, TableEntry]:
    """Writes the tables of the documents that have tokens.

    Args:
      lengths: int64 [N], tokens of each document of the corpus; 0: it is left out.
    """
    kept = lengths > 0
    scanned = columns(scans, "name_sizes", "domains", "groups")

    # Unit by unit, so that the names of a large corpus are never all in memory.
    def names() -> Iterator[np.ndarray]:
        first = 0
        for record in records(scans, "name_sizes", "names"):
            sizes = record["name_sizes"]
            yield record["names"][np.repeat(kept[first : first + sizes.size], sizes)]
            first += sizes.size

    def offsets(sizes: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(sizes)])

    tables: dict[str, Iterable[np.ndarray]] = {
        "offsets": [offsets(lengths[kept])],
        "splits": [corpus.splits[kept]],
        "bytes": [corpus.num_bytes[kept]],
        "clusters": [corpus.clusters[kept]],
        "domains": [scanned["domains"][kept]],
        "groups": [scanned["groups"][kept]],
        "name_offsets": [offsets(scanned["name_sizes"][kept])],
        "names": names(),
    }
    return {table_path(name): write_table(directory, name, tables[name]) for name in TABLES}
