"""Which Data Docs of earlier checks stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.data_docs import KEPT, tidy


def sites(folder: Path, count: int) -> list[Path]:
    """The first is the oldest."""
    made = [folder / f"{number:032x}" for number in range(count)]
    for age, place in enumerate(made):
        place.mkdir(parents=True)
        (place / "index.html").touch()
        os.utime(place, (1000 + age, 1000 + age))
    return made


def test_the_last_few_stay_and_the_newest_whatever_its_time(tmp_path: Path) -> None:
    made = sites(tmp_path / "people", KEPT + 3)
    tidy(made[0], tmp_path / "away")
    assert sorted((tmp_path / "people").iterdir()) == [made[0], *made[4:]]
    assert sorted(path.name for path in (tmp_path / "away").iterdir()) == [one.name for one in made[1:4]]


def test_what_is_no_site_stays(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    made = sites(folder, KEPT + 2)
    (made[0] / "index.html").unlink()
    (folder / "notes").mkdir()
    (folder / ("a" * 32)).symlink_to(made[1])
    tidy(made[-1], tmp_path / "away")
    assert {path.name for path in (tmp_path / "away").iterdir()} == {made[1].name}
    assert made[0].is_dir()
    assert (folder / "notes").is_dir()
    assert (folder / ("a" * 32)).is_symlink()


@pytest.mark.parametrize("holds", ["nothing", "a link"])
def test_a_folder_named_as_the_earlier_one_stays(tmp_path: Path, holds: str) -> None:
    (site,) = sites(tmp_path / "people", 1)
    if holds == "a link":
        (tmp_path / "elsewhere").mkdir()
        (site.parent / "gx").symlink_to(tmp_path / "elsewhere")
    else:
        (site.parent / "gx").mkdir()
    tidy(site, tmp_path / "away")
    assert (site.parent / "gx").exists()
