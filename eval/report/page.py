"""Parts of every page: pictures in all their variants, templates that escape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure as Drawing

from lengthwise.common.files import atomic_write
from lengthwise.common.plain_text import visible
from lengthwise.common.progress import ProgressBar
from lengthwise.eval.report.style import DARK, LIGHT, Theme, png_bytes, svg_data_uri

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """A picture to draw. name: of the PNG beside the page. description: its alternative text."""

    name: str
    caption: str
    description: str
    draw: Callable[[Theme, bool], Drawing]  # (theme, narrow)


@dataclass(frozen=True)
class Figure:
    """A picture as data URIs, for light and dark pages, wide and narrow ones."""

    name: str
    caption: str
    description: str
    light_wide: str
    light_narrow: str
    dark_wide: str
    dark_narrow: str


def render_picture(picture: Picture) -> tuple[Figure, bytes]:
    """Renders the picture in every variant for the page, and as a PNG."""
    drawings = {
        f"{theme.name}_{width}": picture.draw(theme, width == "narrow")
        for theme in (LIGHT, DARK)
        for width in ("wide", "narrow")
    }
    variants = {name: svg_data_uri(drawing) for name, drawing in drawings.items()}
    figure = Figure(picture.name, picture.caption, picture.description, **variants)
    return figure, png_bytes(drawings["light_wide"], LIGHT)


def write_page(
    page: Path, pictures: Sequence[Picture], render: Callable[[Mapping[str, Figure]], str]
) -> Path:
    """Writes the page and a PNG per picture beside it, each replaced whole; returns `page`.

    render: the page as text, given its figures by name.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    figures = {}
    for picture in ProgressBar(pictures, desc=f"drawing {page.name}", unit="picture"):
        figures[picture.name], png = render_picture(picture)
        atomic_write(page.parent / f"{picture.name}.png", [png])
    atomic_write(page, [render(figures).encode("utf-8")])
    return page


def page_environment() -> Environment:
    """Environment of templates that escape values, after what no page can hold is made visible,
    and raise on undefined names."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
