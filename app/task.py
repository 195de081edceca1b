"""Scoring of a run on a task: exact match and right tokens of answers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lengthwise.app.scoring import Checkpoint, Subject
from lengthwise.app.task_runs import distinct_names, run_key, scored_run
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_figures
from lengthwise.common.paths import user_path
from lengthwise.common.progress import ProgressBar
from lengthwise.configs.base import RunConfig
from lengthwise.data.tasks.samples import SampleBatch, TaskSamples
from lengthwise.data.tasks.sequences import rows_of
from lengthwise.data.tasks.task import Task
from lengthwise.eval.answers.hits_file import HITS, load_hits, save_hits
from lengthwise.eval.answers.next_tokens import NextTokens, NextTokenScorer, padded_length
from lengthwise.eval.answers.runs import TaskRun, Training, check_comparable, trainings
from lengthwise.eval.answers.score import (
    Hits,
    by_row_length,
    constant_guess,
    decoded,
    score_answers,
)
from lengthwise.eval.answers.selection import selection_lengths
from lengthwise.eval.answers.trainings import (
    COMPARISON,
    compare_trainings,
    save_comparison,
    score_training,
)
from lengthwise.train.machine.processes import is_first_process
from lengthwise.train.rules.registry import STOPPING_SCORES
from lengthwise.train.rules.score import stopping_score

if TYPE_CHECKING:
    from lengthwise.eval.report.answers.page import Example
    from lengthwise.eval.report.run.run_page import RunInputs


class TaskScoring:
    """The `Scoring` of a run on a task."""

    def __init__(self, subject: Subject):
        """Raises UserError: samples that no bucket holds, lengths that the task or the model
        doesn't have."""
        self._subject = subject
        self.config = subject.experiment.eval
        self.left_out: tuple[str, ...] = ()
        self._stopping_score = stopping_score(subject.experiment.stopping)
        config = self.config.answers
        self.samples = TaskSamples(subject.experiment.data.sources[0].task)
        self._check_buckets()
        task = self.samples.task
        self.report_lengths = _tested(task, config.lengths, "eval.answers.lengths")
        self.selection_lengths = (
            _tested(task, config.selection_lengths, "eval.answers.selection_lengths")
            if config.selection_lengths
            else selection_lengths(
                range(self.samples.low, self.samples.high + 1), self.report_lengths, task.missing
            )
        )
        low, high, step = config.lengths
        if missing := sorted(task.missing.intersection(range(low, high + 1, step))):
            named = ", ".join(map(str, missing))
            self.left_out = (f"{task.name} has no problems of length {named}",)
        # Answers are short rows.
        self._next_tokens = NextTokenScorer(subject.inference(self.config, longest=0))
        for _, length in self._shapes():
            self._next_tokens.check(length)
        self._others: list[TaskRun] = []

    @classmethod
    def check(cls, experiment: RunConfig) -> None:
        """See `Scoring`."""
        task = TaskSamples(experiment.data.sources[0].task).task
        answers = experiment.eval.answers
        _tested(task, answers.lengths, "eval.answers.lengths")
        if answers.selection_lengths:
            _tested(task, answers.selection_lengths, "eval.answers.selection_lengths")
        for name in ("scorers", "tasks", "during"):
            if names := getattr(experiment.eval, name):
                raise UserError(
                    f"eval.{name}={names} score models of text; runs on a task are scored by their "
                    "answers (eval.answers): leave it empty"
                )
        if experiment.stopping.score not in STOPPING_SCORES:
            raise UserError(
                f"stopping.score={experiment.stopping.score!r}: runs on a task stop by the share "
                "of wrong tokens ('nll') or by a score from outside; choose one of "
                f"{', '.join(STOPPING_SCORES.names())}"
            )
        stopping_score(experiment.stopping)

    def compare_with_others(self, workdir: Path) -> None:
        """See `Scoring`."""
        workdirs = [user_path(directory, "eval.compare") for directory in self.config.compare]
        name, *names = distinct_names([workdir, *workdirs])
        resolved = self._subject.experiment.resolved
        self._others = [
            scored_run(directory, each) for directory, each in zip(workdirs, names, strict=True)
        ]
        key = run_key(resolved, name, self.report_lengths, self.config.answers.samples)
        check_comparable([key, *(run.key for run in self._others)])

    def _check_buckets(self) -> None:
        for phase in self._subject.phases.phases:
            if phase.layout.accounting.share_dropped:
                longest = int(np.diff(self._subject.store.document_offsets).max())
                fits = padded_length(longest - 1)
                raise UserError(
                    f"phase {phase.number + 1}: samples have up to {longest} tokens, more than "
                    f"layout.largest_bucket={phase.config.layout.largest_bucket} holds; set it to "
                    f"{fits}, or shorten data.task.lengths with another token store (a new "
                    "--workdir has its own)"
                )

    def share_programs(self, other: TaskScoring) -> None:
        """Takes over the compiled scores of a run that differs in its seeds alone."""
        self._next_tokens = other._next_tokens

    def _documents(self, split: str) -> dict[int, SampleBatch]:
        """Samples of a split, "selection" or "report", by length."""
        lengths = self.selection_lengths if split == "selection" else self.report_lengths
        count = np.arange(self.config.answers.samples)
        return {length: self.samples.scored(split, length, count) for length in lengths}

    def _shapes(self) -> set[tuple[int, int]]:
        """Shapes (rows, tokens) of the device batches in which answers are scored."""
        shapes = set()
        for split in ("selection", "report"):
            documents = self._documents(split)
            for length, tested in by_row_length(documents).items():
                rows = sum(len(documents[each].prompt) for each in tested)
                shapes.add((self._next_tokens.batch_size(rows, length), length))
        return shapes

    @property
    def probes(self) -> bool:
        """See `Scoring`."""
        return True

    def probe(self, params: object, step: int) -> dict[str, Any]:
        """See `Scoring`.

        score, lower is better: the share of wrong tokens, mean over lengths. Wholly right answers
        come so late that they would not tell one early checkpoint from another.
        """
        start = time.perf_counter()
        next_tokens = self._next_tokens.bind(params, self._subject.phases.scaling_after(step))
        hits = score_answers(self._documents("selection"), next_tokens)
        wrong = 1 - float(np.mean([h.hits_N.sum() / h.tokens_N.sum() for h in hits]))
        record = {
            "score": wrong,
            "exact_match": float(np.mean([h.exact_N.mean() for h in hits])),
        }
        return {
            **record,
            "stopping_score": self._stopping_score.of(record),
            "lengths": [self.selection_lengths[0], self.selection_lengths[-1]],
            "position_scheme": self._subject.model.position_scheme,
            "corpus_fingerprint": self._subject.store.manifest.corpus_fingerprint,
            "seconds": time.perf_counter() - start,
        }

    def compile(self) -> None:
        """See `Scoring`."""
        trained = {phase.config.rope_scaling for phase in self._subject.phases.phases}
        keys = [(*shape, scaling) for scaling in trained for shape in sorted(self._shapes())]
        for key in ProgressBar(keys, desc="compiling scores", unit="shape"):
            self._next_tokens.compile(*key)

    def report(self, checkpoint: Checkpoint, workdir: Path, run: Callable[[], RunInputs]) -> None:
        """See `Scoring`: answers.json, hits by sample, comparison and page."""
        # Here, so that nothing that draws is imported by a run before it draws.
        from lengthwise.eval.report.answers.page import AnswersInputs, write_answers
        from lengthwise.eval.report.answers.wording import comparison_lines

        scaling = self._subject.phases.scaling_after(checkpoint.step)
        next_tokens = self._next_tokens.bind(checkpoint.params, scaling)
        documents = self._documents("report")
        hits = score_answers(documents, next_tokens)
        checks = self._decode_some(hits, next_tokens)
        if not is_first_process():
            return
        resolved = self._subject.experiment.resolved
        name, *_ = distinct_names(
            [workdir, *(user_path(each, "eval.compare") for each in self.config.compare)]
        )
        key = run_key(resolved, name, self.report_lengths, self.config.answers.samples)
        chance_K = [self._chance(length, tested) for length, tested in documents.items()]
        mine = TaskRun(key, tuple(hits))
        trained = self.samples.low, self.samples.high
        alone = score_training(Training((mine,)), trained, chance_K, self.config).answers
        identity = self._subject.identity(checkpoint.step)
        path = workdir / "eval" / "answers.json"
        self._announce_replaced(workdir, path)
        content = {
            **dataclasses.asdict(identity),
            "task": resolved["data"]["task"],
            **alone.as_dict(),
            "decoded": checks,
        }
        write_figures(path, content)
        save_hits(hits, workdir / HITS)
        print(alone.table())
        for check in checks:
            print(
                f"greedy decoding of {check['samples']} answers of length {check['length']}: "
                f"{check['agree']} as scored"
            )
        print(f"scores: {path}")
        group = trainings([mine, *self._others])
        scored = [score_training(training, trained, chance_K, self.config) for training in group]
        comparisons = compare_trainings(group, self.config)
        if self._others:
            for line in comparison_lines(scored, comparisons):
                print(line)
            save_comparison(scored, comparisons, workdir / COMPARISON)
            print(f"comparison: {workdir / COMPARISON}")
        inputs = AnswersInputs(
            **vars(run()),
            task=self.samples.task.name,
            counts=self.samples.task.length,
            trained=trained,
            examples=self._examples(documents),
            scored=scored,
            comparisons=comparisons,
            decoded=checks,
            identity=identity,
            confidence=self.config.confidence,
            seeds=f"seed {key.seeds[0]}, samples of seed {key.seeds[1]}",
        )
        print(f"report: {write_answers(workdir, inputs)}")

    def _announce_replaced(self, workdir: Path, path: Path) -> None:
        """Prints a note where scores of other lengths or another number of samples are replaced."""
        try:
            previous = [(each.length, each.hits_N.size) for each in load_hits(workdir)]
        except UserError:
            return  # there are none, or broken ones: nothing is lost by writing anew
        if previous != [(n, self.config.answers.samples) for n in self.report_lengths]:
            print(
                f"{path} had scores of lengths {previous[0][0]} to {previous[-1][0]}, "
                f"{previous[0][1]} samples of "
                "each, which these replace"
            )

    def _chance(self, length: int, tested: SampleBatch) -> float:
        reference = self.samples.scored("guess", length, np.arange(self.config.answers.samples))
        return constant_guess(reference, tested)

    def _examples(self, documents: Mapping[int, SampleBatch]) -> list[Example]:
        """A sample of the shortest tested length, of the longest one in range, of the longest."""
        from lengthwise.eval.report.answers.page import Example

        lengths = list(documents)
        in_range = [n for n in lengths if self.samples.low <= n <= self.samples.high]
        text = self.samples.symbols.text
        examples = []
        for length in dict.fromkeys((lengths[0], *in_range[-1:], lengths[-1])):
            (row,) = rows_of(documents[length].tokens[:1])
            size = int(documents[length].prompt[0])
            # Behind the prompt stands the sign for the answer, behind the answer its end.
            examples.append(Example(length, text(row[: size - 1]), text(row[size:-1])))
        return examples

    def _decode_some(self, hits: list[Hits], next_tokens: NextTokens) -> list[dict[str, int]]:
        """Decodes some samples of the longest tested length in range, and of the longest."""
        count = self.config.answers.decoded
        in_range = [h for h in hits if self.samples.low <= h.length <= self.samples.high]
        checks = []
        for each in {h.length: h for h in (*in_range[-1:], hits[-1])}.values() if count else ():
            documents = self.samples.scored("report", each.length, np.arange(count))
            agree = decoded(documents, next_tokens) == each.exact_N[:count]
            checks.append({"length": each.length, "samples": count, "agree": int(agree.sum())})
        return checks


def _tested(task: Task, span: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Lengths of the span (first, last, step) that the task has. Raises UserError: it has none, or
    not up to the last."""
    if len(span) != 3:
        raise UserError(f"{where}={span} must be (first, last, step)")
    low, high, step = span
    task.check_lengths(low, high, where)
    lengths = tuple(n for n in range(low, high + 1, step) if n not in task.missing)
    if not lengths:
        raise UserError(f"{where}={span}: {task.name} has no problems of these lengths")
    return lengths
