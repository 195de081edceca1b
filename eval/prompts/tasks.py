"""Tasks by name, and RULER's names of them."""

from collections.abc import Sequence

from lengthwise.common.errors import UserError
from lengthwise.eval.prompts import counts, lookups, questions, world
from lengthwise.eval.prompts.prompt import PromptTask

TASKS = {
    task.name: task
    for task in (
        PromptTask("passkey", "low", "low", lookups.passkey),
        PromptTask("single_key", "low", "low", lookups.single_key),
        PromptTask("key_in_prose", "low", "low", lookups.key_in_prose),
        PromptTask("code_in_prose", "low", "low", lookups.code_in_prose),
        PromptTask("several_keys", "mid", "low", lookups.several_keys),
        PromptTask("only_keys", "high", "low", lookups.only_keys),
        PromptTask("only_codes", "high", "low", lookups.only_codes),
        PromptTask("several_values", "mid", "mid", lookups.several_values),
        PromptTask("several_queries", "mid", "mid", lookups.several_queries),
        PromptTask("threading", "high", "mid", lookups.threading),
        PromptTask("tracing", "mid", "mid", lookups.tracing),
        PromptTask("common_word", "low", "high", counts.common_word, aggregates=True),
        PromptTask("frequent_word", "low", "high", counts.frequent_word, aggregates=True),
        PromptTask("survey", "high", "high", counts.survey, aggregates=True),
        PromptTask("joined_survey", "high", "high", counts.joined_survey, aggregates=True),
        PromptTask("one_fact", "mid", "low", world.one_fact),
        PromptTask("two_facts", "mid", "mid", world.two_facts),
        PromptTask("three_facts", "high", "mid", world.three_facts),
        PromptTask("yes_no", "mid", "low", world.yes_no),
        PromptTask("counting", "high", "mid", world.counting),
        PromptTask("reading", "mid", "low", questions.reading, stand_in=True),
        PromptTask("joined_reading", "high", "mid", questions.joined_reading, stand_in=True),
    )
}

# The 13 tasks of RULER (arXiv 2404.06654) by what asks for the same here.
RULER = {
    "niah_single_1": "single_key",
    "niah_single_2": "key_in_prose",
    "niah_single_3": "code_in_prose",
    "niah_multikey_1": "several_keys",
    "niah_multikey_2": "only_keys",
    "niah_multikey_3": "only_codes",
    "niah_multivalue": "several_values",
    "niah_multiquery": "several_queries",
    "vt": "tracing",
    "cwe": "common_word",
    "fwe": "frequent_word",
    "qa_1": "reading",
    "qa_2": "joined_reading",
}


def task_names(
    given: Sequence[str], field: str = "eval.tasks", others: Sequence[str] = ()
) -> tuple[str, ...]:
    """Tasks that a field names: by their names, RULER's, or "ruler" for all 13.

    others: what the field may hold besides, for the error.

    Raises UserError: a name is unknown.
    """
    names: list[str] = []
    for name in given:
        if name == "ruler":
            names += RULER.values()
        elif name in RULER:
            names.append(RULER[name])
        elif name in TASKS:
            names.append(name)
        else:
            raise UserError(
                f"{field} holds {name!r}, which is unknown; choose among "
                f"{', '.join((*others, *TASKS))}, RULER's names, or ruler for its 13 tasks"
            )
    return tuple(dict.fromkeys(names))
