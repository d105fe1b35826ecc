"""The pages' templates, which escape what they are given, and their style."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

FOLDER: Final = Path(__file__).parent


def template(name: str) -> Template:
    """That of a page."""
    return _environment().get_template(name)


@functools.cache
def _environment() -> Environment:
    """One for all pages: compiling a template takes longer than filling it."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> Markup:
    """The sheet that all pages carry."""
    return Markup((FOLDER / "style.css").read_text("utf-8"))  # noqa: S704 - our own file
