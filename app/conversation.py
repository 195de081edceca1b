"""Prompts from the terminal, continued while one watches."""

from collections.abc import Iterable, Iterator
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.config import GenerateConfig
from lengthwise.eval.inference.cached_model import CachedModel
from lengthwise.eval.inference.generation import text_row
from lengthwise.eval.inference.growing_text import GrowingText
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.eval.inference.streaming import stream
from lengthwise.model.decode import Sampling

_HELP = (
    "a prompt a line, each a text of its own; a line that ends in \\ goes on in the next; an empty "
    "one begins with nothing; Ctrl-C ends a text, Ctrl-D the session"
)


def terminal_prompts() -> Iterator[str]:
    """Prompts that are typed, until Ctrl-D or Ctrl-C."""
    try:
        while True:
            lines = [input("> ")]
            while lines[-1].endswith("\\"):
                lines.append(input(". "))
            prompt = "\n".join(line.removesuffix("\\") for line in lines)
            yield prompt.encode("utf-8", "replace").decode()  # bytes that are no UTF-8: "?"
    except (EOFError, KeyboardInterrupt):
        print()


def converse(
    model: CachedModel,
    tokenizer: Tokenizer,
    config: GenerateConfig,
    sampling: Sampling,
    start: StartToken,
    prompts: Iterable[str] | None = None,
) -> list[dict[str, Any]]:
    """Prints what follows each prompt as it is generated; returns the rows of `generate_texts`.

    prompts: None: those of the terminal.
    """
    if prompts is None:
        print(_HELP)
        prompts = terminal_prompts()
    rows = []
    for prompt in prompts:
        if unknown := tokenizer.unknown(prompt):
            print(f"note: the tokenizer has no token for {unknown[0]!r}")
        (encoded,) = tokenizer.encode_batch([prompt])
        tokens = start.before(encoded)
        for sample in range(config.samples):
            text = GrowingText(tokenizer, tokens, config.stop)
            parts = stream(
                model,
                tokens,
                sampling=sampling,
                max_tokens=config.max_tokens,
                seed=config.seed,
                number=sample,
                end_of_text=tokenizer.end_of_text,
            )
            try:
                for part in parts:
                    print(text.add(part), end="", flush=True)
                    if text.ended:
                        break
            except KeyboardInterrupt:
                pass  # ends this text alone, which is kept
            except UserError as error:
                print(f"error: {error}")
                break
            print(text.rest())
            rows.append(text_row(prompt, sample, text, sampling, config.seed))
    return rows
