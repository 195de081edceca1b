"""Tasks of lm-evaluation-harness made from the tasks on long inputs (eval/prompts/tasks)."""

from typing import Any

import datasets
import numpy as np

from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.inference.continued_text import decode_behind
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.prompt import Control, PromptTask
from lengthwise.eval.prompts.registry import TASKS

PREFIX = "lengthwise_"


def names(length: object) -> list[str]:
    """Names of all tasks at a length: lengthwise_passkey_1024."""
    return [f"{PREFIX}{task}_{length}" for task in TASKS.names()]


def is_own(name: str) -> bool:
    """Whether `name` is one of these tasks."""
    task, _, length = name.removeprefix(PREFIX).rpartition("_")
    return name.startswith(PREFIX) and task in TASKS and length.isdecimal()


def task_config(
    name: str, tokenizer: Tokenizer, maker: PromptMaker, count: int, seed: int
) -> dict[str, Any]:
    """Makes the config of a task by its name: multiple choice among an answer and its distractors;
    of several answers, each behind the right ones before it.

    The harness takes text, which it encodes as a whole: by other tokenizers than bytes that can be
    a few tokens fewer than the length. There are no controls: for those see `eval.tasks`.

    Raises:
      UserError: a prompt doesn't fit the length.
    """
    word, length = name.removeprefix(PREFIX).rsplit("_", 1)
    task: PromptTask = TASKS[word]
    prompts = maker.prompts(task, int(length), count, seed, Control.PLAIN)
    rows = []
    for prompt in prompts:
        for part in prompt.parts:
            before = np.concatenate([prompt.tokens, part.lead])
            choices = [decode_behind(tokenizer, before, each) for each in part.candidates]
            rows.append({"text": tokenizer.decode(before), "choices": choices})
    return {
        "task": name,
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(rows)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": lambda row: row["text"],
        "doc_to_choice": lambda row: row["choices"],
        "doc_to_target": lambda row: 0,
        "target_delimiter": "",  # choices begin with their space
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
    }
