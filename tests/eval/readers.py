"""Planted models of prompts: what they answer is known beforehand. Test-only.

`answer` is what a reader of the whole text says, written from the wording alone. `Reader` is a
language model around it: it writes that answer behind the question, byte by byte.
"""

import re
from collections import Counter

import numpy as np

from lengthwise.data.store.tokenizers import ByteTokenizer
from lengthwise.eval.inference.scorer import TargetScores

BYTES = ByteTokenizer()
SURE, UNSURE = 0.01, 5.0  # nats of a byte that it expects, and of any other

_KEY = r"( [\w-]+)"
# Where the question begins and ends: all that follows in a row is the answer.
QUESTIONS = {
    "passkey": r"The pass key is",
    "several_values": rf"The codes of{_KEY}, in their order, are",
    "several_queries": rf"The codes of({_KEY}(?:,{_KEY})*), in this order, are",
    "threading": rf"From{_KEY} one goes in three steps to",
    "tracing": rf"The value of{_KEY} is",
    "common_word": r"\. The most frequent word is",
    "frequent_word": r"\. The most frequent word is",
    "survey": r"Most live in",
    "joined_survey": r"Most live in the place of number",
    "one_fact": r"(\w+) is in",
    "two_facts": r"(\w+) is in",
    "three_facts": rf"Before{_KEY},{_KEY} was in",
    "yes_no": rf"That{_KEY} is in{_KEY} is",
    "counting": rf"The count of what{_KEY} carries is",
    "reading": rf"Question: Where was{_KEY} born\?\nAnswer: It was in",
    "joined_reading": rf"Question: Where is the house that{_KEY} worked for\?\nAnswer: It is in",
}
CODE = rf"The code of{_KEY} is"
AGGREGATES = {"common_word", "frequent_word", "survey", "joined_survey"}


def answer(name, context, asked):
    """What stands behind the question, as text; None: the context does not say it.

    asked: the match of the question.
    """
    codes = dict(re.findall(rf"The code of{_KEY} is{_KEY}\.", context))
    if name == "passkey":
        found = re.findall(r"The pass key is( \d+)\.", context)
        return found[-1] if found else None
    if name == "several_values":
        found = re.findall(rf"The code of{asked[1]} is{_KEY}\.", context)
        return ",".join(found) if len(found) == 4 else None
    if name == "several_queries":
        return ",".join(codes.get(key, " ?") for key in asked[1].split(","))
    if name == "threading":
        leads = dict(re.findall(rf"From{_KEY} one goes to{_KEY}\.", context))
        return leads.get(leads.get(leads.get(asked[1])))
    if name == "tracing":
        values = dict(re.findall(rf"Let{_KEY} be{_KEY}\.", context))
        at = asked[1]
        while at in values:
            at = values[at]
        return at if at.strip().isdigit() else None
    if name in ("common_word", "frequent_word"):
        words = context.split("Count the words:")[-1].split(" ")[1:-1]
        return " " + Counter(words).most_common(1)[0][0] if words else None
    if name in ("survey", "joined_survey"):
        lives = Counter(re.findall(rf"One lives in{_KEY}\.", context))
        place = lives.most_common(1)[0][0] if lives else None
        numbers = dict(re.findall(rf"The number of{_KEY} is( \d+)\.", context))
        return place if name == "survey" else numbers.get(place)
    if name == "reading":
        return dict(re.findall(rf"\d+{_KEY} was born in{_KEY},", context)).get(asked[1])
    if name == "joined_reading":
        house = dict(re.findall(rf"years{_KEY} worked for{_KEY}\.", context)).get(asked[1])
        return dict(re.findall(rf",{_KEY} is a house in{_KEY}\.", context)).get(house)
    if name in ("one_fact", "two_facts", "three_facts", "yes_no", "counting"):
        return world_answer(name, context, asked)
    return codes.get(asked[1])


def world_answer(name, context, asked):
    """The world of facts, told anew."""
    at, things, holders = {}, {}, {}
    for person, verb, what in re.findall(rf"Now{_KEY} (went to|took|dropped){_KEY}\.", context):
        if verb == "went to":
            at[person] = what
            for thing, holder in holders.items():
                if holder == person:
                    things.setdefault(thing, []).append(what)
        elif verb == "took":
            holders[what] = person
            things.setdefault(what, []).append(at.get(person))
        else:
            holders.pop(what, None)
    if name == "one_fact":
        return at.get(" " + asked[1])
    if name == "two_facts":
        return things.get(" " + asked[1], [None])[-1]
    if name == "three_facts":
        places = things.get(asked[2], [])
        return places[-2] if len(places) > 1 and places[-1] == asked[1] else None
    if name == "yes_no":
        there = at.get(asked[1])
        return None if there is None else (" right" if there == asked[2] else " wrong")
    if f"Now{asked[1]} took" not in context:
        return None
    return f" {sum(holder == asked[1] for holder in holders.values())}"


class Reader:
    """Writes the answer where the last `memory` tokens before the end of the question say it; else
    all bytes are alike to it. A count over all of the input takes all of the input."""

    def __init__(self, name, memory=10**9):
        self.name, self.memory = name, memory
        self.question = re.compile(r"\n" + QUESTIONS.get(name, CODE))

    def completion(self, text):
        """(end of the question, what it expects behind)."""
        *_, asked = self.question.finditer(text)
        first = max(0, asked.end() - self.memory)
        context = text[first : asked.start() + 1] if first <= asked.start() else ""
        if self.name in AGGREGATES and first > 0:
            return asked.end(), ""
        return asked.end(), answer(self.name, context, asked) or ""

    def targets(self, tokens, positions=None):
        nats = np.full((tokens.shape[0], tokens.shape[1] - 1), UNSURE, np.float32)
        for row, nats_L in zip(tokens, nats, strict=True):
            used = np.append(np.flatnonzero(row == BYTES.end_of_text), row.size)[0]
            end, expected = self.completion(BYTES.decode(row[:used]))
            wanted = BYTES.encode_batch([expected])[0][: used - end]
            same = np.cumprod(row[end : end + wanted.size] == wanted).astype(bool)
            nats_L[end - 1 : end - 1 + wanted.size][same] = SURE
        return TargetScores(nats, nats == np.float32(SURE))

    def __call__(self, tokens):
        return self.targets(tokens).nats

    def generate(self, prompts, tokens):
        expected = [self.completion(BYTES.decode(prompt))[1] for prompt in prompts]
        return [BYTES.encode_batch([text])[0][:tokens].astype(np.int32) for text in expected]


class Guesser:
    """Independent random nats: right as often as chance has it, and never greedy."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def targets(self, tokens, positions=None):
        shape = tokens.shape[0], tokens.shape[1] - 1
        return TargetScores(self.rng.normal(5, 1, shape).astype(np.float32), np.zeros(shape, bool))

    def __call__(self, tokens):
        return self.targets(tokens).nats


class Uniform:
    """All tokens of a vocabulary are alike; the one of the lowest id counts as the likeliest."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def targets(self, tokens, positions=None):
        shape = tokens.shape[0], tokens.shape[1] - 1
        nats = np.full(shape, np.log(self.vocabulary), np.float32)
        return TargetScores(nats, tokens[:, 1:] == 0)

    def __call__(self, tokens):
        return self.targets(tokens).nats


class Copier:
    """Induction: what followed the last `match` tokens when they stood there before, within the
    last `memory` tokens. Knows no language and no task."""

    def __init__(self, match, memory=10**9):
        self.match, self.memory = match, memory

    def targets(self, tokens, positions=None):
        greedy = np.zeros((tokens.shape[0], tokens.shape[1] - 1), bool)
        for row, greedy_L in zip(tokens.tolist(), greedy, strict=True):
            seen = {}
            for i in range(self.match, len(row)):
                before = tuple(row[i - self.match : i])
                last = seen.get(before)
                # The token that is copied must be among the last `memory` inputs.
                if last is not None and i - last <= self.memory:
                    greedy_L[i - 1] = row[last] == row[i]
                seen[before] = i
        return TargetScores(np.where(greedy, SURE, UNSURE).astype(np.float32), greedy)

    def __call__(self, tokens):
        return self.targets(tokens).nats
