"""Which files a source has: hidden ones, links, circles of links, packed files."""

import os
from pathlib import Path

import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.sources.listing import BROKEN, HIDDEN, LINKED, find_files


def listed(path: Path | str, *patterns: str) -> tuple[list[str], dict[str, int]]:
    listing = find_files(str(path), patterns or ("*.txt",), "text")
    return sorted(name for name, _ in listing), dict(listing.left_out)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for name in ("a.txt", "sub/b.txt", "._a.txt", ".git/c.txt", "sub/.DS_Store", "note.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_hidden_files_are_left_out_and_counted(corpus: Path) -> None:
    assert listed(corpus) == (["a.txt", "sub/b.txt"], {HIDDEN: 2})
    assert listed(corpus, "*") == (["a.txt", "note.md", "sub/b.txt"], {HIDDEN: 3})
    assert listed(f"{corpus}/**/*.txt") == (["a.txt", "sub/b.txt"], {HIDDEN: 2})
    assert listed(f"{corpus}/*.txt") == (["a.txt"], {HIDDEN: 1})
    # Asked for by name they are files as others.
    assert listed(f"{corpus}/.*.txt") == (["._a.txt"], {})
    assert listed(corpus / "._a.txt") == (["._a.txt"], {})
    assert listed(corpus / ".git") == (["c.txt"], {})
    assert listed(corpus, ".git/*.txt") == ([".git/c.txt"], {})


def test_a_link_to_a_listed_file_is_read_once(corpus: Path, tmp_path: Path) -> None:
    (corpus / "0.txt").symlink_to("a.txt")
    (corpus / "broken.txt").symlink_to("nowhere")
    (tmp_path / "other.txt").write_text("other")
    (corpus / "x.txt").symlink_to(tmp_path / "other.txt")
    (corpus / "y.txt").symlink_to(tmp_path / "other.txt")
    expected = ["a.txt", "sub/b.txt", "x.txt"], {HIDDEN: 2, LINKED: 2, BROKEN: 1}
    assert listed(corpus) == expected
    assert listed(f"{corpus}/**/*.txt") == expected
    # Another name of the same file that is no link: a user's copy.
    os.link(corpus / "a.txt", corpus / "hard.txt")
    assert "hard.txt" in listed(corpus)[0]


def test_circles_of_links_end(corpus: Path, tmp_path: Path) -> None:
    for name in ("up", "sub/up", "sub/again"):
        (corpus / name).symlink_to(corpus)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.txt").write_text("far")
    (tmp_path / "elsewhere" / "back").symlink_to(corpus)
    (corpus / "linked").symlink_to(tmp_path / "elsewhere")
    expected = ["a.txt", "linked/far.txt", "sub/b.txt"], {HIDDEN: 2}
    assert listed(corpus) == expected
    assert listed(f"{corpus}/**/*.txt") == expected
    (corpus / "itself.txt").symlink_to("itself.txt")
    assert listed(corpus)[1] == {HIDDEN: 2, BROKEN: 1}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/b.txt", ["sub/b.txt"]),
        ("s*/**/b.txt", ["sub/b.txt"]),
        ("s?b/*", ["sub/b.txt"]),
        ("**", ["a.txt", "note.md", "sub/b.txt"]),
        ("[as]*", ["a.txt", "sub/b.txt"]),
        ("**/sub", ["sub/b.txt"]),
    ],
)
def test_patterns(corpus: Path, pattern: str, names: list[str]) -> None:
    assert listed(f"{corpus}/{pattern}")[0] == names
    with pytest.raises(UserError, match=r"no text there"):
        listed(f"{corpus}/x{pattern}")


def test_a_folder_that_cannot_be_listed_is_named(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"cannot list the folder .*sub: Permission denied"):
        listed(corpus)


def test_what_is_left_out_is_said_where_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "._x.txt").write_text("x")
    with pytest.raises(UserError, match=r"no text there \(left out: 1 hidden files\)"):
        listed(tmp_path)


def test_files_that_are_packed_otherwise_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("x.zip", "x.tar.gz"):
        (tmp_path / name).write_text("x")
        for path in (tmp_path, tmp_path / name):
            with pytest.raises(UserError, match=rf"{name} is packed as .*unpack it"):
                listed(path, "*")
        (tmp_path / name).unlink()
