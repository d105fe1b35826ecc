"""Data Docs of earlier checks: the last few stay, and what an earlier release left goes, where nobody has touched it."""

from __future__ import annotations

import contextlib
import re
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Final

import yaml

KEPT: Final = 10
"""Validations of a model whose pages stay; each takes four megabytes, and those of recorded runs are in MLflow as well."""
EARLIER: Final = "gx"
"""Where an earlier release had Great Expectations' project of a model, with the pages of all its checks."""
SITE: Final = re.compile("[0-9a-f]{32}")
_FRAMES: Final = tuple(f"{role}_{kind}" for role in ("train", "test") for kind in ("rows", "facts", "labels"))
_MADE: Final = (
    "great_expectations.yml",
    ".gitignore",
    "*/.ge_store_backend_id",
    "plugins/custom_data_docs/styles/data_docs_custom_styles.css",
    "uncommitted/config_variables.yml",
    "uncommitted/data_docs/local_site/*",
    *(f"expectations/{frame}.json" for frame in _FRAMES),
    *(f"validation_definitions/{frame}.json" for frame in _FRAMES),
    *(f"uncommitted/validations/{frame}/*/data-{frame}.json" for frame in _FRAMES),
)
_STYLES: Final = "plugins/custom_data_docs/styles/data_docs_custom_styles.css"
_TEMPLATE: Final = "render/view/static/styles/data_docs_custom_styles_template.css"


def tidy(newest: Path, away: Path) -> None:
    """Leave `newest` and the last few other sites beside it, and what is none of ours; the others go to the new folder `away`.

    They are moved in one step, so that no half of one stays; another process may have moved them at the same moment.
    """
    sites = [one for one in newest.parent.iterdir() if _is_site(one) and one != newest]
    sites.sort(key=_age)
    earlier = newest.parent / EARLIER
    away.mkdir()
    for old in [*sites[KEPT - 1 :], *([earlier] if _is_ours(earlier) else [])]:
        with contextlib.suppress(FileNotFoundError):
            old.rename(away / old.name)


def _age(path: Path) -> float:
    """Larger for what was built earlier; largest for what has gone meanwhile."""
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _is_site(path: Path) -> bool:
    return bool(SITE.fullmatch(path.name)) and not path.is_symlink() and (path / "index.html").is_file()


def _is_ours(project: Path) -> bool:
    """Whether it is a project that an earlier release made, with nothing in it that it did not write."""
    if project.is_symlink() or not (project / "great_expectations.yml").is_file():
        return False
    for path in project.rglob("*"):
        name = path.relative_to(project).as_posix()
        if path.is_symlink() or (not path.is_dir() and not any(fnmatch(name, made) for made in _MADE)):
            return False
    return _is_plain(project / "great_expectations.yml") and _has_template(project / _STYLES)


def _is_plain(path: Path) -> bool:
    """Whether the project has no site and no source of data but those that every check made."""
    try:
        plain = yaml.safe_load(path.read_text("utf-8"))
        return set(plain["data_docs_sites"]) == {"local_site"} and set(plain["fluent_datasources"]) <= {"data"}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return False


def _has_template(path: Path) -> bool:
    """Whether the pages' styles are those that Great Expectations lays there."""
    template = resources.files("great_expectations").joinpath(_TEMPLATE)
    return not path.exists() or (template.is_file() and path.read_bytes() == template.read_bytes())
