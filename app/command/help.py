"""`--help`, and docs/config.md: every flag and every field, from their declarations.

python -m lengthwise.app.command.help     # writes docs/config.md
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from lengthwise.app.command.config_file import PACKAGE
from lengthwise.common.settings import Declared, declarations
from lengthwise.configs.base import RunConfig

HELP = frozenset({"--help", "-help", "-h", "--helpfull", "--helpshort"})
PAGE = PACKAGE / "docs" / "config.md"
_OURS = ("config", "workdir", "mode", "distributed", "coordinator", "num_processes", "process_id")


def help_page(usage: str) -> str:
    """The text of --help: usage, flags, then the fields of the config by section."""
    lines = [
        usage.strip(),
        "",
        "flags:",
        *_entry(
            "--config=PATH", "a file of configs/, or a config.json; left out: that of --workdir"
        ),
    ]
    for name in _OURS:
        if name in flags.FLAGS:
            flag = flags.FLAGS[name]
            default = "" if flag.default is None else f" [{flag.default}]"
            lines += _entry(f"--{name}", f"{flag.help.splitlines()[0]}{default}")
    lines.append("")
    lines.append("fields of the config, --config.FIELD=VALUE, [default] and range:")
    for _, fields in _sections():
        lines.append("")
        for name, declared in fields:
            details = ", ".join(filter(None, (f"[{declared.default!r}]", _range(declared))))
            lines += _entry(f"{name}", f"{declared.comment} {details}".strip())
    return "\n".join(lines)


def markdown() -> str:
    """The page docs/config.md."""
    lines = [
        "# Every field of a config",
        "",
        "Written by `python -m lengthwise.app.command.help` from the declarations, never by hand.",
        "Set a field by `--config.FIELD=VALUE` or in a config file; `python main.py --help` lists",
        "them.",
        "Ranges are intervals: `[0, 1)` holds 0 and not 1.",
    ]
    for section, fields in _sections():
        lines += ["", f"## {section or 'The run'}", "", "| field | default | what | range |"]
        lines.append("|---|---|---|---|")
        for name, declared in fields:
            cells = (f"`{name}`", f"`{declared.default!r}`", declared.comment, _range(declared))
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _sections() -> Iterator[tuple[str, list[tuple[str, Declared]]]]:
    """The fields by the section that they stand in, in the order of their declaration."""
    sections: dict[str, list[tuple[str, Declared]]] = {}
    for name, declared in declarations(RunConfig):
        sections.setdefault(name.rpartition(".")[0], []).append((name, declared))
    yield from sections.items()


def _range(declared: Declared) -> str:
    return declared.within or " | ".join(declared.choices)


def _entry(name: str, text: str) -> list[str]:
    """A name with its wrapped explanation."""
    wrapped = textwrap.wrap(text, 64) or [""]
    head = [f"    {name:<44} {wrapped[0]}"] if len(name) < 44 else [f"    {name}"]
    rest = wrapped[1:] if len(name) < 44 else wrapped
    return [*head, *(" " * 49 + line for line in rest)]


if __name__ == "__main__":
    Path(PAGE).write_text(markdown())
    print(PAGE)
