"""A pretrained image encoder from `abi run` to predictions of another process."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

ROWS, PATCH = 128, 12
SHORT = (
    "training.epochs=12",
    "data.media.size=16",
    "training.threads=1",
    "training.family=network",
    "iterate.rounds=1",
)
SHORT_TOO = ("attention.temperatures=[0.4]", "evaluation.resamples=100", "evaluation.latency_calls=5")


def patched(random: np.random.Generator, red: bool) -> bytes:
    """A red or blue patch anywhere on noise, on pictures of two sizes: no region by itself tells much."""
    side = int(random.choice([32, 40]))
    pixels = random.normal(128, 30, (side, side, 3))
    top, left = random.integers(0, side - PATCH, 2)
    pixels[top : top + PATCH, left : left + PATCH] += [90, 0, -90] if red else [-90, 0, 90]
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _drawn() -> tuple[list[bytes], list[str]]:
    random = np.random.default_rng(0)
    red = random.random(ROWS) < 0.5
    return [patched(random, bool(one)) for one in red], ["red" if one else "blue" for one in red]


FILES, LABELS = _drawn()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A table beside a folder of pictures; of one row there is none."""
    (tmp_path / "pics").mkdir()
    names: list[str | None] = [f"pics/{i}.png" for i in range(ROWS)]
    for i, data in enumerate(FILES):
        (tmp_path / "pics" / f"{i}.png").write_bytes(data)
    names[3] = None
    pd.DataFrame({"photo": names, "label": LABELS}).to_csv(tmp_path / "patches.csv", index=False)
    return tmp_path / "patches.csv"


def _run(abi, data, ws, encoder, *more):
    flags = [word for setting in (*SHORT, *SHORT_TOO, "checks.data_docs=false", *more) for word in ("--set", setting)]
    named = ["--set", f"data.encoders.photo.path={encoder}"]
    return abi("run", data, "--target", "label", "--workspace", ws, *named, *flags, "--json")


def test_a_run_with_an_encoder_is_planned_kept_and_predicted_from(
    abi, command, without_prefect, pictures, tiny_resnet, tmp_path
):
    encoder = shutil.copytree(tiny_resnet, tmp_path / "encoder")
    ws = tmp_path / "ws"
    answer = _run(abi, pictures, ws, encoder)
    assert answer.code == 0, answer.err
    attention = answer.json["attention"]
    assert max(attention, key=attention.get) == "photo:encoder", attention
    assert "photo[1,1]" in attention
    assert len(list((ws / "vectors").iterdir())) == 1
    told = abi("predict", pictures, "--workspace", ws, "--version", 1)
    assert told.code == 0, told.err
    assert command("predict", pictures, "--workspace", ws, "--version", 1).out == told.out
    found = pd.read_csv(io.StringIO(told.out))["prediction"]
    assert np.mean(found == LABELS) > 0.9
    shutil.rmtree(encoder)
    gone = abi("predict", pictures, "--workspace", ws, "--version", 1)
    assert gone.code == 3
    assert "embed: true" in gone.sentence


def test_an_embedded_encoder_alone_needs_no_folder_and_no_regions(
    abi, without_prefect, pictures, tiny_resnet, tmp_path
):
    encoder = shutil.copytree(tiny_resnet, tmp_path / "encoder")
    ws = tmp_path / "ws"
    answer = _run(abi, pictures, ws, encoder, "data.encoders.photo.embed=true", "data.columns.photo=ignore")
    assert answer.code == 0, answer.err
    assert set(answer.json["attention"]) == {"photo:encoder"}
    shutil.rmtree(encoder)
    broken = base64.b64encode(b"no picture").decode()
    sent = [None, broken, *(base64.b64encode(data).decode() for data in FILES)]
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{ws}/mlflow.db")
    model = mlflow.pyfunc.load_model(answer.json["model"]["uri"])
    found = model.predict(pd.DataFrame({"photo": sent}))
    assert found.iloc[0].equals(found.iloc[1])  # what cannot be read is missing
    assert np.mean(found["prediction"][2:] == LABELS) > 0.9


@pytest.mark.parametrize(
    ("column", "said"),
    [("size", "got float values: name a column of text or images"), ("tone", "got sounds: name a column of text")],
)
def test_a_column_of_neither_text_nor_pictures_has_no_encoder(
    abi, without_prefect, tiny_resnet, tmp_path, column, said
):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(800) / 3), 8000, format="WAV")
    table = pa.table({"size": np.arange(40) / 7, "tone": [buffer.getvalue()] * 40, "label": ["a", "b"] * 20})
    pq.write_table(table, tmp_path / "data.parquet")
    answer = abi(
        *("run", tmp_path / "data.parquet", "--target", "label", "--workspace", tmp_path / "ws"),
        *("--set", f"data.encoders.{column}={tiny_resnet}"),
    )
    assert answer.code == 2
    assert said in answer.sentence


def test_a_tuned_encoder_is_used_kept_and_replayed(abi, command, without_prefect, pictures, tiny_resnet, tmp_path):
    broken = tmp_path / "pics" / "5.png"
    broken.write_bytes(broken.read_bytes()[:60])
    encoder = shutil.copytree(tiny_resnet, tmp_path / "encoder")
    ws, tune = tmp_path / "ws", '{"epochs": 4, "learning_rate": 0.003}'
    more = ("data.columns.photo=ignore", "data.validation=0.3", "checks.broken_files=0.05")
    answer = _run(abi, pictures, ws, encoder, f"data.encoders.photo.tune={tune}", *more)
    assert answer.code == 0, answer.err
    (tuned,) = answer.json["tuned"]
    assert tuned["kept"], tuned
    assert tuned["loss_after"] < tuned["loss_before"]
    assert (tuned["layers"], tuned["parameters"]) == (1, 267_840)
    assert tuned["rows"] == tuned["rows_there"] < 0.7 * ROWS
    assert [path.name for path in (ws / "encoders").iterdir()] == [tuned["sha256"]]
    assert abi("replay", "patches/1", "--workspace", ws).code == 0
    robust = abi("eval", "--robust", "patches/1", "--workspace", ws, "--json")  # whose settings name no encoder
    assert robust.code == 0, robust.err
    told = abi("predict", pictures, "--workspace", ws, "--version", 1)
    assert np.mean(pd.read_csv(io.StringIO(told.out))["prediction"] == LABELS) > 0.9
    shutil.rmtree(ws / "encoders")
    shutil.rmtree(encoder)
    assert command("predict", pictures, "--workspace", ws, "--version", 1).out == told.out  # the model carries it


def test_few_pictures_are_not_tuned_on(abi, without_prefect, pictures, tiny_resnet, tmp_path):
    pd.read_csv(pictures).head(80).to_csv(pictures, index=False)
    answer = _run(abi, pictures, tmp_path / "ws", tiny_resnet, "data.encoders.photo.tune=true")
    assert answer.code == 3
    assert "at least 64 training rows with a picture in the column 'photo' to tune its encoder" in answer.sentence
