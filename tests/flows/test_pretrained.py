"""A pretrained encoder from `abi run` to predictions of another process."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

QUICK = ("training.epochs=6", "training.threads=1", "iterate.rounds=1", "attention.temperatures=[0.4]")
QUICK_TOO = ("evaluation.resamples=100", "evaluation.latency_calls=5", "checks.data_docs=false")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Short reviews, good or bad, some of them missing."""
    random = np.random.default_rng(0)
    said = random.choice(["good", "bad"], 240)
    texts = [f"the {' '.join(random.choice(['film', 'plot', 'very', 'a', 'is'], 5))} {word}" for word in said]
    table = pd.DataFrame({"review": texts, "label": np.where(said == "good", "yes", "no")})
    table.loc[:9, "review"] = None
    table.to_csv(tmp_path / "reviews.csv", index=False)
    return tmp_path / "reviews.csv"


def _run(abi, data, ws, encoder, *more):
    flags = [word for setting in (*QUICK, *QUICK_TOO, *more) for word in ("--set", setting)]
    named = ["--set", "data.columns.review=text", "--set", f"data.encoders.review.path={encoder}"]
    return abi("run", data, "--target", "label", "--workspace", ws, *named, *flags, "--json")


def test_a_run_with_an_encoder_is_planned_kept_and_predicted_from(
    abi, command, without_prefect, reviews, tiny_bert, tmp_path
):
    encoder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    ws = tmp_path / "ws"
    answer = _run(abi, reviews, ws, encoder)
    assert answer.code == 0, answer.err
    assert set(answer.json["attention"]) == {"review", "review:encoder"}
    assert len(list((ws / "vectors").iterdir())) == 1
    told = abi("predict", reviews, "--workspace", ws, "--version", 1)
    assert told.code == 0, told.err
    assert command("predict", reviews, "--workspace", ws, "--version", 1).out == told.out
    shutil.rmtree(encoder)
    gone = abi("predict", reviews, "--workspace", ws, "--version", 1)
    assert gone.code == 3
    assert "embed: true" in gone.sentence


def test_an_embedded_encoder_needs_no_folder(abi, without_prefect, reviews, tiny_bert, tmp_path):
    encoder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    answer = _run(abi, reviews, tmp_path / "ws", encoder, "data.encoders.review.embed=true")
    assert answer.code == 0, answer.err
    shutil.rmtree(encoder)
    told = abi("predict", reviews, "--workspace", tmp_path / "ws", "--version", 1)
    assert told.code == 0, told.err


def test_a_column_without_text_has_no_encoder(abi, without_prefect, data, tiny_bert, tmp_path):
    answer = abi(
        "run", data, "--target", "label", "--workspace", tmp_path / "ws", "--set", f"data.encoders.size={tiny_bert}"
    )
    assert answer.code == 2
    assert "name a column of text" in answer.sentence
