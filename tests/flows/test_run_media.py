"""Pictures and sounds through the whole command line, in every form that they may be given."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from abi.config import Config
from abi.data.infer import pose
from abi.data.reader import Reader
from abi.problem import Snapshot
from abi.scoring.score import score
from tasks.snapshot import read_file
from tasks.workspace import Workspace

COLOURS = ("red", "green", "blue")
ROWS = 160
SHORT = ("--set", "training.family=network", "--set", "iterate.rounds=1")


def pictures(rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Of 16 x 16 noise, whose upper left quarter tells the class."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, rows)
    pixels = random.integers(0, 60, (rows, 16, 16, 3))
    for i, which in enumerate(label):
        pixels[i, :8, :8, which] += 180
    return pixels.astype(np.uint8), [COLOURS[i] for i in label]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


FILES, LABELS = [png(one) for one in pictures()[0]], pictures()[1]


def beside(home: Path, *, archive: bool = False) -> Path:
    names = [f"pics/{i}.png" for i in range(ROWS)]
    if archive:
        with zipfile.ZipFile(home / "media.zip", "w") as new:
            for name, data in zip(names, FILES, strict=True):
                new.writestr(name, data)
    else:
        (home / "pics").mkdir()
        for name, data in zip(names, FILES, strict=True):
            (home / name).write_bytes(data)
    path = home / "shop.csv"
    pd.DataFrame({"photo": names, "price": np.arange(ROWS) % 7, "label": LABELS}).to_csv(path, index=False)
    return path


def per_class(home: Path, *, archive: bool = False) -> Path:
    for i, (data, label) in enumerate(zip(FILES, LABELS, strict=True)):
        (home / "shop" / label).mkdir(parents=True, exist_ok=True)
        (home / "shop" / label / f"{i}.png").write_bytes(data)
    if not archive:
        return home / "shop"
    with zipfile.ZipFile(home / "shop.zip", "w") as new:
        for file in sorted((home / "shop").rglob("*.png")):
            new.write(file, file.relative_to(home / "shop"))
    return home / "shop.zip"


def arrays(home: Path) -> Path:
    np.savez(home / "shop.npz", x=pictures()[0], label=LABELS)
    return home / "shop.npz"


def cells(home: Path, *, paths: bool = False) -> Path:
    values = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(FILES)] if paths else FILES
    pq.write_table(pa.table({"photo": values, "label": LABELS}), home / "shop.parquet")
    return home / "shop.parquet"


FORMS = {
    "a table beside a folder": beside,
    "a table beside an archive": lambda home: beside(home, archive=True),
    "a folder per class": per_class,
    "an archive of folders": lambda home: per_class(home, archive=True),
    "arrays": arrays,
    "binary cells": cells,
    "structures": lambda home: cells(home, paths=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_pictures_in_every_form_are_the_same_regions(tmp_path, form):
    config = Config()
    file, table = read_file(Workspace.open(tmp_path / "ws"), FORMS[form](tmp_path), config.data)
    problem = pose(Snapshot(files=(file,)), "label", config, table, None)
    found = {one.feature: one for one in score(Reader(problem, table), config.scoring).features}
    column = next(name for name in found if name.endswith("[1,1]")).removesuffix("[1,1]")
    regions = {name: one for name, one in found.items() if name.startswith(column)}
    assert sorted(regions) == [f"{column}[{r},{c}]" for r in (1, 2) for c in (1, 2)]
    assert [name for name, one in regions.items() if one.carries_signal] == [f"{column}[1,1]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, command, plain, quick):
    """A run over pictures beside a table, one of which is broken and one of which has no file."""
    home = tmp_path_factory.mktemp("shop")
    data = beside(home)
    (home / "pics" / "3.png").write_text("just a few words")
    (home / "pics" / "5.png").unlink()
    words = ("run", data, "--target", "label", "--workspace", home / "ws", "--json", *quick, *SHORT)
    run = command(*words, "--set", "checks.broken_files=0.02", before=plain)
    assert run.code == 0, run.err
    return home, words, run


def test_a_run_gives_attention_to_the_region_that_tells(trained):
    _, _, run = trained
    attention = run.json["attention"]
    assert max(attention, key=attention.get) == "photo[1,1]"
    assert run.json["model"]["version"] == 1


def test_the_second_run_trains_nothing(trained, command, plain):
    home, words, run = trained
    again = command(*words, "--set", "checks.broken_files=0.02", before=plain)
    assert again.code == 0, again.err
    assert again.json["model"] == run.json["model"]
    # one more file is other data
    (home / "pics" / "5.png").write_bytes(FILES[5])
    other = command("check", *words[1:4], "--workspace", home / "ws", "--json", "--set", "checks.broken_files=0.02")
    (home / "pics" / "5.png").unlink()
    assert "1 of 160" in str(other.json)


def test_more_broken_files_than_the_limit_stop_the_run(trained, abi):
    home, words, _ = trained
    answer = abi("check", *words[1:4], "--workspace", home / "other", "-q", "--set", "checks.data_docs=false")
    assert answer.code == 3
    assert "2 of 160, the first in row 4 is no image that can be read" in answer.sentence


def test_predictions_answer_also_without_a_picture(trained, abi, tmp_path):
    home, _, _ = trained
    answer = abi("predict", home / "shop.csv", "--version", 1, "--workspace", home / "ws", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["rows"] == ROWS
    one = home / "one.csv"
    one.write_text("photo,price\npics/3.png,1\npics/5.png,1\n,1\npics/7.png,1\n")
    answer = abi("predict", one, "--version", 1, "--workspace", home / "ws", "--json")
    assert answer.code == 0, answer.err
    found = answer.json["predictions"]
    assert found[0] == found[1] == found[2] != found[3]
    gone = tmp_path / "gone.csv"
    gone.write_text("photo,price\npics/7.png,1\n")
    answer = abi("predict", gone, "--version", 1, "--workspace", home / "ws", "--json")
    assert answer.code == 3
    assert "Expected images in column 'photo' of" in answer.sentence
    assert "gone.csv" in answer.sentence


def test_the_model_takes_bytes_and_base64_from_a_frame(trained):
    home, _, run = trained
    mlflow.set_tracking_uri(f"sqlite:///{home}/ws/mlflow.db")
    model = mlflow.pyfunc.load_model(run.json["model"]["uri"])
    price = [1, 2, 3]
    as_bytes = model.predict(pd.DataFrame({"photo": FILES[7:10], "price": price}))
    text = [base64.b64encode(data).decode() for data in FILES[7:10]]
    pd.testing.assert_frame_equal(as_bytes, model.predict(pd.DataFrame({"photo": text, "price": price})))
    small = as_bytes.iloc[:, 1:].to_numpy()
    large = [
        png(np.asarray(Image.open(io.BytesIO(data)).resize((32, 32), Image.Resampling.NEAREST))) for data in FILES[7:10]
    ]
    assert np.allclose(model.predict(pd.DataFrame({"photo": large, "price": price})).iloc[:, 1:], small, atol=1e-5)


def test_monitor_sees_pictures_that_changed(trained, abi, tmp_path):
    home, _, _ = trained
    pixels, labels = pictures(seed=1)
    (tmp_path / "pics").mkdir()
    for i, one in enumerate(pixels):
        (tmp_path / "pics" / f"{i}.png").write_bytes(png(np.roll(one, 8, axis=1)))  # the quarter moved to the right
    new = tmp_path / "new.csv"
    frame = pd.DataFrame(
        {"photo": [f"pics/{i}.png" for i in range(ROWS)], "price": np.arange(ROWS) % 7, "label": labels}
    )
    frame.to_csv(new, index=False)
    answer = abi("monitor", new, "--model", "shop", "--workspace", home / "ws", "--json")
    assert answer.code == 4, answer.err
    drifted = {one["feature"] for one in answer.json["value"]["features"] if one["drifted"]}
    assert drifted == {"photo[1,1]", "photo[1,2]"}


def test_one_region_is_explained(trained, abi):
    home, _, _ = trained
    answer = abi("explain", "shop/1", "photo[1,1]", "--workspace", home / "ws")
    assert answer.code == 0, answer.err
    assert "region, part of column 'photo'" in answer.out
    answer = abi("diff", "shop/1", "shop/1", "--workspace", home / "ws")
    assert answer.code == 0, answer.err


def test_tones_are_told_apart(abi, quick, tmp_path, without_prefect):
    random = np.random.default_rng(0)
    for i in range(80):
        label, hertz = ("low", 300) if i % 2 else ("high", 2500)
        wave = np.sin(2 * np.pi * hertz * np.arange(1600) / 8000) + random.normal(scale=0.1, size=1600)
        (tmp_path / "tones" / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "tones" / label / f"{i}.wav", 0.3 * wave, 8000)
    words = ("run", tmp_path / "tones", "--target", "label", "--workspace", tmp_path / "ws", "--json")
    answer = abi(*words, *quick, *SHORT)
    assert answer.code == 0, answer.err
    best = max(answer.json["attention"], key=answer.json["attention"].get)
    assert best.startswith("file[")
    assert best.endswith("Hz]")
