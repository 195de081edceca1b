"""A run on a task: trained as on any corpus, scored by whether answers are right."""

import dataclasses
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from atomic_write import write_json
from data.tasks.samples import Documents, TaskSamples
from errors import UserError
from eval.answers.hits_file import HITS, save_hits
from eval.answers.next_tokens import NextTokenPrograms, NextTokens, padded_length
from eval.answers.score import Hits, by_row_length, decoded, score_answers
from eval.answers.summary import Answers, summarize
from eval.scheduled import NLL
from experiment import Experiment
from session import Session
from train.checkpoint import Checkpoints
from train.processes import first
from train.run import checked_host

_SELECTION_LENGTHS = 8  # lengths of training that choose, at most, where none are named


class TaskSession(Session):
    """A `Session` whose corpus is a task."""

    def _prepare_scoring(self, experiment: Experiment) -> None:
        """Raises UserError: samples that no bucket holds, lengths that the task or the model
        doesn't have."""
        self.eval, self.left_out = experiment.eval, ()
        self._check_no_scores_of_text(experiment)
        config = self.eval.answers
        self.samples = TaskSamples(experiment.data.sources[0].task)
        self._check_buckets()
        self.report_lengths = self._lengths(config.lengths, "eval.answers.lengths")
        self.selection_lengths = self._lengths(
            config.selection_lengths or self._spread(), "eval.answers.selection_lengths"
        )
        self.executables = self._scoring_executables(longest=0)  # answers are short rows
        setup = self.setup
        self.programs = NextTokenPrograms(
            self.executables,
            experiment.train.model,
            setup.vocab_size,
            setup.platform,
            setup.abstract_params,
            setup.data_sharding,
            self.eval.seed,
        )
        for _, length in self._shapes():
            self.programs.check(length)

    @staticmethod
    def _check_no_scores_of_text(experiment: Experiment) -> None:
        for name in ("scorers", "tasks", "during"):
            if asked := getattr(experiment.eval, name):
                raise UserError(
                    f"eval.{name}={asked} score models of text; runs on a task are scored by their "
                    "answers (eval.answers): leave it empty"
                )
        if experiment.train.stopping.score != NLL:
            raise UserError(
                f"stopping.score={experiment.train.stopping.score!r}: runs on a task stop by the "
                f"share of wrong tokens; leave it {NLL!r}"
            )

    def _check_buckets(self) -> None:
        for phase in self.phases.phases:
            if phase.layout.accounting.share_dropped:
                longest = int(np.diff(self.store.document_offsets).max())
                fits = padded_length(longest - 1)
                raise UserError(
                    f"phase {phase.number + 1}: samples have up to {longest} tokens, more than "
                    f"layout.largest_bucket={phase.config.layout.largest_bucket} holds; set it to "
                    f"{fits} or shorten data.task.lengths"
                )

    def _spread(self) -> tuple[int, int, int]:
        low, high = self.samples.low, self.samples.high
        return low, high, max(1, -(-(high - low + 1) // _SELECTION_LENGTHS))

    def _lengths(self, span: tuple[int, ...], where: str) -> tuple[int, ...]:
        if len(span) != 3:
            raise UserError(f"{where}={span} must be (first, last, step)")
        low, high, step = span
        self.samples.task.check_lengths(low, high, where)
        return tuple(range(low, high + 1, step))

    def _documents(self, split: str) -> dict[int, Documents]:
        """The samples of a split by length, "selection" or "report"."""
        lengths = self.selection_lengths if split == "selection" else self.report_lengths
        count = np.arange(self.eval.answers.samples)
        return {length: self.samples.scored(split, length, count) for length in lengths}

    def _shapes(self) -> set[tuple[int, int]]:
        """Rows and tokens of the device batches in which answers are scored."""
        shapes = set()
        for split in ("selection", "report"):
            documents = self._documents(split)
            for length, tested in by_row_length(documents).items():
                rows = sum(len(documents[each].prompt) for each in tested)
                shapes.add((self.programs.batch_size(rows, length), length))
        return shapes

    def _answers(self, hits: list[Hits]) -> Answers:
        return summarize(
            hits,
            (self.samples.low, self.samples.high),
            threshold=self.eval.answers.threshold,
            confidence=self.eval.confidence,
            bootstrap_samples=self.eval.bootstrap_samples,
            seed=self.eval.seed,
        )

    def _probe(self, params: object, step: int) -> dict[str, Any]:
        """The selection samples' scores for metrics.jsonl.

        score, lower is better: the share of wrong tokens, mean over lengths. Wholly right answers
        come so late that they would not tell one early checkpoint from another.
        """
        start = time.perf_counter()
        next_tokens = self.programs.bind(params, self.phases.scaling_after(step))
        hits = score_answers(self._documents("selection"), next_tokens)
        wrong = 1 - float(np.mean([h.hits_N.sum() / h.tokens_N.sum() for h in hits]))
        return {
            "score": wrong,
            "stopping_score": wrong,
            "exact_match": float(np.mean([h.exact_N.mean() for h in hits])),
            "lengths": [self.selection_lengths[0], self.selection_lengths[-1]],
            "position_scheme": self.model.position_scheme,
            "corpus_fingerprint": self.store.manifest.corpus_fingerprint,
            "seconds": time.perf_counter() - start,
        }

    def _compile_scoring(self) -> None:
        trained = {phase.config.rope_scaling for phase in self.phases.phases}
        keys = [(*shape, scaling) for scaling in trained for shape in sorted(self._shapes())]
        for key in tqdm(keys, desc="compiling scores", unit="shape"):
            self.programs.compile(*key)

    def _score(self, checkpoints: Checkpoints) -> None:
        """Scores a checkpoint on the report samples; writes eval/answers.json and .npz."""
        step = self._step_to_score(checkpoints)
        checked_host(self.setup, checkpoints, step)
        params = checkpoints.restore_params(step, self.setup.abstract_params)
        next_tokens = self.programs.bind(params, self.phases.scaling_after(step))
        hits = score_answers(self._documents("report"), next_tokens)
        answers = self._answers(hits)
        checks = self._decode_some(hits, next_tokens)
        if not first():
            return
        path = self.workdir / "eval" / "answers.json"
        identity = dataclasses.asdict(self._identity(step))
        task = self.experiment.resolved["data"]["sources"][0]["task"]
        written = {**identity, "task": task, **answers.as_dict(), "decoded": checks}
        write_json(path, written)
        save_hits(hits, self.workdir / HITS)
        print(answers.table())
        for check in checks:
            print(
                f"greedy decoding of {check['samples']} answers of length {check['length']}: "
                f"{check['agree']} as scored"
            )
        print(f"scores: {path}")

    def _decode_some(self, hits: list[Hits], next_tokens: NextTokens) -> list[dict[str, int]]:
        """Decodes some samples of the longest tested length in range, and of the longest."""
        count = self.eval.answers.decoded
        in_range = [h for h in hits if self.samples.low <= h.length <= self.samples.high]
        checks = []
        for each in {h.length: h for h in (*in_range[-1:], hits[-1])}.values() if count else ():
            documents = self.samples.scored("report", each.length, np.arange(count))
            agree = decoded(documents, next_tokens) == each.exact_N[:count]
            found = {"length": each.length, "samples": count, "agree": int(agree.sum())}
            checks.append(found)
        return checks
