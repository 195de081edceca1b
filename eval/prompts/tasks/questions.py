"""Question answering over documents, as RULER's qa_1 and qa_2: local files, or invented documents.

RULER takes SQuAD (arXiv 1606.05250) and HotpotQA (arXiv 1809.09600) and hides the documents that
hold the answer among others. With `eval.qa_1` or `eval.qa_2` this reads such a file. Without one,
the documents are invented, which is another and easier thing: the task says that it is a stand-in.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.paths import user_path
from lengthwise.common.texts import read_text
from lengthwise.eval.prompts.prompt import (
    Answer,
    Material,
    PromptTask,
    Unaskable,
    Vocabulary,
)
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.prompts.tasks.lookups import CANDIDATES, depths

_TRIES = 1000  # questions in a row that have too few answers of as many tokens


@dataclass(frozen=True)
class QuestionRecord:
    """A question of a file, with its answer."""

    question: str
    answer: str
    documents: tuple[str, ...]  # those that hold the answer


@dataclass(frozen=True)
class QuestionFile:
    """Questions, and all the documents that the file holds."""

    entries: tuple[QuestionRecord, ...]
    documents: tuple[str, ...]


def read_squad(content: Any) -> QuestionFile:
    """Reads SQuAD's JSON, 1.1 or 2.0; questions without an answer are left out."""
    paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    entries = [
        QuestionRecord(qa["question"], qa["answers"][0]["text"], (paragraph["context"],))
        for paragraph in paragraphs
        for qa in paragraph["qas"]
        if qa["answers"]
    ]
    return QuestionFile(tuple(entries), tuple(paragraph["context"] for paragraph in paragraphs))


def read_hotpot(content: Any) -> QuestionFile:
    """Reads HotpotQA's JSON: questions with their paragraphs, some of which support the answer."""
    entries: list[QuestionRecord] = []
    documents: dict[str, None] = {}
    for each in content:
        texts = {title: "".join(sentences) for title, sentences in each["context"]}
        needed = dict.fromkeys(title for title, _ in each["supporting_facts"])
        support = tuple(texts[title] for title in needed if title in texts)
        entries.append(QuestionRecord(each["question"], each["answer"], support))
        documents.update(dict.fromkeys(texts.values()))
    return QuestionFile(tuple(entries), tuple(documents))


def _questions(
    path: Path, field: str, form: str, read: Callable[[Any], QuestionFile]
) -> QuestionFile:
    named, instead = f"{field}={str(path)!r}", f"name a file of {form}"
    try:
        content = json.loads(read_text(path, field, instead))
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot read {named}: {one_line(error)}; {instead}") from error
    try:
        return read(content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{named} is not {form}: {what}") from error


def from_file(task: PromptTask, file: QuestionFile, path: Path) -> PromptTask:
    """The task with the questions of a file."""
    if len(file.entries) < CANDIDATES:
        raise UserError(f"{path} has {len(file.entries)} questions; {CANDIDATES} are needed")
    answers = tuple(dict.fromkeys(f" {entry.answer}" for entry in file.entries))

    def make(words: Vocabulary) -> Material:
        for _ in range(_TRIES):
            entry = file.entries[int(words.rng.integers(len(file.entries)))]
            answer = f" {entry.answer}"
            wrong = _distractors(words, answer, answers)
            if len(wrong) >= CANDIDATES - 1:
                break
        else:
            raise Unaskable(f"{path} has too few answers of equally many tokens")
        others = [d for d in file.documents if d not in entry.documents]
        order = itertools.cycle(words.rng.permutation(len(others)).tolist())
        picked = words.rng.permutation(len(wrong))[: CANDIDATES - 1]
        return Material(
            "Answer from the documents.\n",
            tuple(_document(text) for text in entry.documents),
            depths(words.rng, len(entry.documents)),
            (lambda: _document(others[next(order)])) if others else words.prose,
            f"Question: {entry.question}\nAnswer:",
            (Answer((answer, *(wrong[i] for i in picked))),),
            "The documents say so. Answer:",
        )

    return PromptTask(task.name, task.dispersion, task.scope, make)


def _distractors(words: Vocabulary, answer: str, answers: Sequence[str]) -> list[str]:
    """Other answers of as many tokens, no two of the same ones, in their order."""
    tokens = words.encode(answer)
    distinct = {tokens.tobytes(): answer}
    for other in answers:
        if words.size(other) == tokens.size > 0:
            distinct.setdefault(words.encode(other).tobytes(), other)
    return list(distinct.values())[1:]


@TASKS.register("reading", dispersion="mid", scope="low", stand_in=True)
def reading(words: Vocabulary) -> Material:
    """Stand-in for qa_1: place of birth of a person who has a document."""
    people, places = words.keys(CANDIDATES), words.keys(CANDIDATES)
    needles = [_life(words, p, place) for p, place in zip(people, places, strict=True)]
    return Material(
        "Answer from the documents.\n",
        tuple(needles[i] for i in words.rng.permutation(CANDIDATES)),
        depths(words.rng, CANDIDATES),
        lambda: _life(words, words.keys(1)[0], words.keys(1)[0]),
        f"Question: Where was{people[0]} born?\nAnswer: It was in",
        (Answer(tuple(places)),),
        f"There is a document on{people[0]}. It says that{people[0]} was born in",
    )


@TASKS.register("joined_reading", dispersion="high", scope="mid", stand_in=True)
def joined_reading(words: Vocabulary) -> Material:
    """Stand-in for qa_2: place of the house that a person worked for, from a document on the person
    and one on the house."""
    people, houses, places = (words.keys(CANDIDATES) for _ in range(3))
    needles = [
        *(_work(words, p, house) for p, house in zip(people, houses, strict=True)),
        *(_house(words, house, place) for house, place in zip(houses, places, strict=True)),
    ]
    return Material(
        "Answer from the documents.\n",
        tuple(needles[i] for i in words.rng.permutation(len(needles))),
        depths(words.rng, len(needles)),
        lambda: _life(words, words.keys(1)[0], words.keys(1)[0]),
        f"Question: Where is the house that{people[0]} worked for?\nAnswer: It is in",
        (Answer(tuple(places)),),
        f"By one document{people[0]} worked for{houses[0]}. By another,{houses[0]} is in",
    )


def _life(words: Vocabulary, person: str, place: str) -> str:
    year = int(words.rng.integers(1700, 2000))
    return _document(f"Of{person}. In {year}{person} was born in{place}, as one of five. ")


def _work(words: Vocabulary, person: str, house: str) -> str:
    years = int(words.rng.integers(2, 40))
    return _document(f"Of{person}. For {years} years{person} worked for{house}. ")


def _house(words: Vocabulary, house: str, place: str) -> str:
    year = int(words.rng.integers(1700, 2000))
    return _document(f"Of{house}. Founded in {year},{house} is a house in{place}. ")


def _document(text: str) -> str:
    return f"Document: {text}\n"


def tasks_of_files(qa_1: str, qa_2: str) -> dict[str, PromptTask]:
    """Tasks on the questions of the files that eval.qa_1 and eval.qa_2 name, if any, by name.

    Raises UserError: no such file, or of another form.
    """
    tasks = {}
    readers: Sequence[tuple[str, str, str, str, Callable[[Any], QuestionFile]]] = (
        ("reading", "eval.qa_1", qa_1, "SQuAD's JSON", read_squad),
        ("joined_reading", "eval.qa_2", qa_2, "HotpotQA's JSON", read_hotpot),
    )
    for name, field, path, form, read in readers:
        if path:
            file = user_path(path, field)
            tasks[name] = from_file(TASKS[name], _questions(file, field, form, read), file)
    return tasks
