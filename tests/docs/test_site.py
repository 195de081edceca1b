"""The documentation as a site: every page is in it, and every link stays one."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("site_links", ROOT / "docs" / "site_links.py")
SITE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(SITE)


def pages(nav):
    for each in nav:
        for value in each.values():
            yield from pages(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_navigation():
    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    docs = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert sorted(listed) == sorted(docs | set(SITE.BESIDE))


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[d](docs/data.md#words)", "[d](data.md#words)"),
        ("index.md", "![p](docs/quickstart.png)", "![p](quickstart.png)"),
        ("claims.md", "[README](../README.md)", "[README](index.md)"),
        ("plans/README.md", "[p](../pods.md)", "[p](../pods.md)"),
        ("data.md", "[t](../data/sources/tfds.py)", "t (`data/sources/tfds.py`)"),
        ("index.md", "[l](LICENSE) [w](https://x.org)", "l (`LICENSE`) [w](https://x.org)"),
        ("data.md", "[n](nowhere.md)", "[n](nowhere.md)"),
    ],
)
def test_links_of_a_page_are_those_of_the_site(page, text, expected):
    assert SITE.site_markdown(text, page) == expected


def test_a_strict_build_passes(tmp_path):
    pytest.importorskip("mkdocs", reason="make docs installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search("Lengthwise", (tmp_path / "index.html").read_text())
    assert (tmp_path / "search" / "search_index.json").exists()
