"""A hook of mkdocs: pages beside docs/ join the site, links to other files are their paths."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Page of the site -> file of the repository; all else lies in docs/.
BESIDE = {"index.md": "README.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
BESIDE |= {"CHANGELOG.md": "CHANGELOG.md"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def site_markdown(text: str, page: str) -> str:
    """The text of a page, its relative links those of the site; `page` is its path there."""
    file = BESIDE.get(page, f"docs/{page}")
    places = {path: name for name, path in BESIDE.items()}

    def link(match: re.Match[str]) -> str:
        image, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        place = places.get(path) or (path.removeprefix("docs/") if path[:5] == "docs/" else "")
        if not place or (ROOT / path).is_dir():
            return f"{label} (`{path}`)" if (ROOT / path).exists() else match[0]
        return f"{image}[{label}]({posixpath.relpath(place, posixpath.dirname(page))}{anchor})"

    return _LINK.sub(link, text)


def on_files(files, config):
    """Adds the pages beside docs/."""
    from mkdocs.structure.files import File

    for page, path in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text("utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites the links of a page."""
    return site_markdown(markdown, page.file.src_uri)
