"""The files of a source: by path, by pattern, or below a folder.

A folder that links reach twice, or that lies in itself, is searched once. Hidden files and links to
files that are listed themselves are left out and counted.
"""

import fnmatch
import glob
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from lengthwise.common.compressed import check_packing
from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path

HIDDEN, LINKED, BROKEN = "hidden files", "links to files that are listed", "broken links"


@dataclass
class Listing:
    """Files by name, and what was left out."""

    files: list[tuple[str, Path]]  # name within the source, path; in no order
    left_out: Counter[str] = field(default_factory=Counter)  # by reason

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return iter(self.files)


def find_files(path: str, patterns: tuple[str, ...], what: str) -> Listing:
    """The files at `path`: itself, those that it matches as a glob pattern, and those that match
    one of `patterns` below it where it is a folder.

    Raises UserError when there is none (`what` then says what was looked for), for a folder that
    can't be listed, and for a file that is packed in a way that isn't read.
    """
    root = user_path(path, "data.path")
    inside = [_parts_of(pattern) for pattern in patterns]
    # A name with brackets is a name first and a pattern second.
    if root.is_file():
        check_packing(root)
        return Listing([(root.name, root)])
    if root.is_dir():
        matches = [root]
    elif glob.has_magic(str(root)):
        plain = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), root.parts[:-1]))
        matches = _glob(plain, root.relative_to(plain))
        inside, root = [*inside, root.relative_to(plain).parts], plain
    else:
        raise UserError(f"data.path={path!r} is not a folder, nor a file or a glob pattern of some")
    files = {file for file in matches if not file.is_dir()}
    for folder in matches:
        if folder.is_dir():
            files.update(_below(folder, inside))
    hidden_too = any(part.startswith(".") for parts in inside for part in parts)
    listing = _listing(root, sorted(files), hidden_too)
    if not listing.files:
        left = ", ".join(f"{count:,} {why}" for why, count in listing.left_out.items())
        raise UserError(
            f"data.path={path!r}: no {what} there" + f" (left out: {left})" * bool(left)
        )
    for _, file in listing:
        check_packing(file)
    return listing


def _glob(root: Path, pattern: PurePath) -> list[Path]:
    # The standard library follows links in a circle until the system refuses.
    if "**" in pattern.parts:
        return list(_below(root, [pattern.parts], anchored=True))
    named = os.path.join(glob.escape(str(root)), pattern)
    return [Path(match) for match in glob.glob(named, include_hidden=True)]


def _below(
    root: Path, patterns: Sequence[Sequence[str]], *, anchored: bool = False
) -> Iterator[Path]:
    """Files that match a pattern below `root` at any depth; or, `anchored`, what matches it there,
    folders too."""
    seen = set()
    waiting = [root]  # links to folders come last, so that what they lead to has its own name
    for top in waiting:
        for folder, inside, names in os.walk(top, onerror=_not_listed):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                inside.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            inside.sort()
            waiting += [Path(folder, name) for name in inside if Path(folder, name).is_symlink()]
            above = PurePath(folder).relative_to(root).parts
            for name in (*names, *inside) if anchored else names:
                for pattern in patterns:
                    whole = pattern if anchored else ("**", *pattern)
                    if fnmatch.fnmatchcase(name, pattern[-1]) and _fits((*above, name), whole):
                        yield Path(folder, name)
                        break


def _not_listed(error: OSError) -> None:
    raise UserError(f"cannot list the folder {error.filename}: {error.strerror}") from error


def _parts_of(pattern: str) -> tuple[str, ...]:
    """The parts of a pattern below a folder. Raises UserError where it is none."""
    pure = PurePath(pattern)
    # Versions of Python differ in how they read ** inside of a name.
    alone = all(part == "**" or "**" not in part for part in pure.parts)
    if pure.parts and not pure.is_absolute() and ".." not in pure.parts and alone:
        return pure.parts
    raise UserError(
        f"data.pattern={pattern!r} is no pattern below a folder: it is relative, and ** stands "
        "alone between slashes"
    )


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a pattern; ** is any number of them."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
    )


def _listing(root: Path, files: Sequence[Path], hidden_too: bool) -> Listing:
    """The files once each, with their names below `root`."""
    left_out: Counter[str] = Counter()
    by_target: dict[str, list[tuple[bool, str, Path]]] = {}
    targets: dict[Path, str] = {root: os.path.realpath(root)}  # of folders
    for file in files:
        name = file.relative_to(root)
        if not hidden_too and any(part.startswith(".") for part in name.parts):
            left_out[HIDDEN] += 1
        elif file.is_file():
            if file.parent not in targets:
                targets[file.parent] = os.path.realpath(file.parent)
            target = os.path.join(targets[file.parent], file.name)
            if file.is_symlink():
                target = os.path.realpath(file)
            is_link = target != os.path.join(targets[root], name)
            by_target.setdefault(target, []).append((is_link, name.as_posix(), file))
        elif file.is_symlink():
            left_out[BROKEN] += 1
    if repeats := sum(len(each) - 1 for each in by_target.values()):
        left_out[LINKED] += repeats
    return Listing([min(each)[1:] for each in by_target.values()], left_out)
