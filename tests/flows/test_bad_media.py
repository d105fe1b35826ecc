"""Pictures and sounds that cannot be used: one sentence, the row, and the exit code of data."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROWS = 40


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two classes of grey pictures beside a table."""
    (tmp_path / "pics").mkdir()
    lines = []
    for i in range(ROWS):
        values = np.random.default_rng(i).integers(0, 90, (12, 12), dtype=np.uint8) + np.uint8(150 * (i % 2))
        Image.fromarray(values).save(tmp_path / "pics" / f"{i}.png")
        lines.append(f"pics/{i}.png,{i % 5},{'ab'[i % 2]}\n")
    (tmp_path / "shop.csv").write_text("photo,price,label\n" + "".join(lines))
    return tmp_path


@pytest.fixture
def check(abi, home):
    """Answer of `abi check`, or another command, on the table."""

    def run(*words: object, data: str = "shop.csv", target: str = "label", command: str = "check"):
        extra = ("--set", "checks.data_docs=false", "-q")
        return abi(command, home / data, "--target", target, "--workspace", home / "ws", *words, *extra)

    return run


def test_what_is_read_passes(check, home):
    whole = home / "pics" / "0.png"
    Image.open(whole).convert("RGBA").save(home / "pics" / "2.png")
    Image.open(whole).convert("P").save(home / "pics" / "4.png")
    Image.fromarray(np.asarray(Image.open(whole)).astype(np.uint16) * 257).save(home / "pics" / "6.png")
    Image.open(whole).resize((40, 30)).save(home / "pics" / "8.png")
    answer = check("--json")
    assert answer.code == 0, answer.err
    assert "2 sizes, brought to 12 x 12" in answer.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"just a few words", "row 8 is no image that can be read"),
        (b"", "row 8 is empty, damaged in its archive, or was not found"),
        (None, "row 8 is empty, damaged in its archive, or was not found"),
        ("half", r"row 8 cannot be decoded"),
    ],
)
def test_a_broken_file_is_counted_against_the_limit(check, home, content, said):
    path = home / "pics" / "7.png"
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    answer = check()
    assert answer.code == 3
    assert f"1 of {ROWS}, the first in {said}" in answer.sentence
    lenient = check("--set", "checks.broken_files=0.05", "--name", "lenient", "--json")
    assert lenient.code == 0
    (warning,) = (found for found in lenient.json["value"]["results"] if found["status"] != "passed")
    assert warning["severity"] == "warning"
    assert f"1 of {ROWS}, the first in {said}" in warning["observed"]


def test_all_files_broken_stop_the_check_though_other_columns_are_left(check, home):
    for path in (home / "pics").iterdir():
        path.write_text("words")
    answer = check()
    assert answer.code == 3
    assert f"{ROWS} of {ROWS}, the first in row 1 is no image" in answer.sentence
    assert check("--set", 'data.columns={"photo":"ignore"}', "--name", "without").code == 0


def test_files_that_are_nowhere_are_named_where_nothing_else_is_left(check, home):
    (home / "pics").rename(home / "elsewhere")
    text = (home / "shop.csv").read_text().splitlines()
    (home / "shop.csv").write_text("\n".join(",".join(line.split(",")[::2]) for line in text))
    answer = check()
    assert answer.code == 3
    assert "'photo' names files, none of which was found beside the table or in data.media.folder" in answer.sentence


@pytest.mark.parametrize("path", ["../7.png", "/etc/passwd.png", "C:/7.png"])
def test_a_path_that_leads_out_stops_with_its_row(check, home, path):
    text = (home / "shop.csv").read_text().replace("pics/7.png", path)
    (home / "shop.csv").write_text(text)
    answer = check()
    assert answer.code == 3
    assert f"Row 8, column 'photo': Expected paths of files inside {home}, got '{path}'" in answer.sentence


def test_a_bomb_in_an_archive_stops_with_its_row(check, home):
    with zipfile.ZipFile(home / "media.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for i in range(ROWS):
            new.writestr(f"pics/{i}.png", bytes(30 * 2**20) if i == 7 else (home / "pics" / f"{i}.png").read_bytes())
    for path in (home / "pics").iterdir():
        path.unlink()
    answer = check()
    assert answer.code == 3
    assert "Row 8, column 'photo': Expected files" in answer.sentence


def test_names_are_those_that_the_user_gave(check, home):
    for label in "ab":
        (home / "tree" / label).mkdir(parents=True)
        (home / "tree" / label / "1.png").write_bytes((home / "pics" / "1.png").read_bytes())
    np.savez(home / "p.npz", x=np.zeros((30, 8, 8), np.uint8), label=np.array([{}] * 30))
    for data, said in (("tree", "at least 20 rows"), ("p.npz", "without objects"), ("pics", "a folder per class")):
        answer = check(data=data)
        assert answer.code == 3
        assert said in answer.sentence
        assert "parquet" not in answer.sentence


def test_one_class_is_not_enough(check, home):
    for i in range(ROWS):
        (home / "tree" / "a").mkdir(parents=True, exist_ok=True)
        (home / "pics" / f"{i}.png").rename(home / "tree" / "a" / f"{i}.png")
    answer = check(data="tree")
    assert answer.code == 3
    assert "two values" in answer.sentence


def test_a_picture_is_no_target(check):
    answer = check(target="photo")
    assert answer.code == 2
    assert "Expected labels or numbers in the target 'photo', got images" in answer.sentence


def test_a_test_file_without_its_pictures(check, home, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "test.csv"
    other.write_text((home / "shop.csv").read_text())
    answer = check("--test", other, command="run")
    assert answer.code == 3
    assert "Expected images in column 'photo' of the test file" in answer.sentence


def test_a_test_file_that_has_no_picture_at_all_is_told_once(check, home, tmp_path):
    lines = (home / "shop.csv").read_text().splitlines()
    (tmp_path / "bare.csv").write_text("\n".join([lines[0], *("," + line.partition(",")[2] for line in lines[1:])]))
    answer = check("--test", tmp_path / "bare.csv", command="run")
    assert answer.code == 3
    assert "missing values (test file) of 'photo': expected" in answer.sentence
    assert "BatchData" not in answer.err


def test_another_encoding_beside_pictures(check, home):
    text = (home / "shop.csv").read_text().replace("label", "größe", 1)
    (home / "shop.csv").write_bytes(text.encode("latin-1"))
    answer = check(target="größe")
    assert answer.code == 3
    assert "shop.csv" in answer.sentence
