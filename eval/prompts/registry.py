"""The registry of prompt tasks, grouped by file in eval/prompts/tasks, and RULER's names."""

from collections.abc import Callable, Sequence

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Registry
from lengthwise.eval.prompts.prompt import Material, PromptTask, Vocabulary

Make = Callable[[Vocabulary], Material]
LEVELS = ("low", "mid", "high")

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


class PromptTasks(Registry[PromptTask]):
    """Prompt tasks by name; what is registered is the function that makes their material."""

    def register(  # type: ignore[override]
        self,
        name: str,
        dispersion: str,
        scope: str,
        *,
        aggregates: bool = False,
        stand_in: bool = False,
    ) -> Callable[[Make], Make]:
        """A decorator that files a function as a `PromptTask`, whose fields the others are.

        Raises ValueError: a name of another task or of RULER's, or a level that there is none of.
        """
        if name in RULER or name == "ruler":
            raise ValueError(f"{self.kind} {name!r} is one of RULER's names; rename yours")
        if not {dispersion, scope} <= set(LEVELS):
            raise ValueError(f"{self.kind} {name!r}: dispersion and scope are one of {LEVELS}")

        def registered(make: Make) -> Make:
            super(PromptTasks, self).register(name)(
                PromptTask(name, dispersion, scope, make, aggregates, stand_in)
            )
            return make

        return registered


TASKS = PromptTasks("prompt task", "lengthwise.eval.prompts.tasks")


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
                f"{', '.join((*others, *TASKS.names()))}, RULER's names, or ruler for its 13 tasks"
            )
    return tuple(dict.fromkeys(names))
