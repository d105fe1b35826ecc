from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from tasks import evaluation

Abi = Callable[..., object]
ROWS = 400
SERIES = 'data.series={"lags": [1], "windows": [4], "statistics": ["mean"]}'


@pytest.fixture
def sensors(tmp_path: Path) -> tuple[Path, Path]:
    """Two channels over time in a training and a test file; the class is the sign of the last change of the first."""
    random = np.random.default_rng(0)
    a = random.normal(size=ROWS).cumsum()
    frame = pd.DataFrame({"a": a, "b": random.normal(size=ROWS), "y": np.diff(a, prepend=0) > 0})
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    frame[:300].to_csv(train, index=False)
    frame[300:].to_csv(test, index=False)
    return train, test


def test_a_series_is_learned_predicted_watched_and_replayed(
    abi: Callable[..., object], quick: list[str], sensors: tuple[Path, Path], tmp_path: Path, without_prefect: None
) -> None:
    train, test = sensors
    words = [*quick, "--set", "data.order=rows", "--set", SERIES, "--name", "robot"]
    answer = abi("run", train, "--workspace", tmp_path / "ws", "--test", test, "--target", "y", *words, "--json")
    assert answer.code == 0, answer.err
    result = answer.json
    assert {"a@lag1", "a@diff", "a@mean4", "b@diff"} <= set(result["attention"])
    assert max(result["scores"], key=result["scores"].get) == "a@diff"
    assert result["metrics"]["roc_auc"] > 0.9
    rows = tmp_path / "new.csv"
    pd.read_csv(test).drop(columns="y").to_csv(rows, index=False)
    predicted = abi("predict", rows, "--workspace", tmp_path / "ws", "--model", "robot", "--version", "1", "--json")
    assert predicted.code == 0, predicted.err
    truth = pd.read_csv(test)["y"].to_numpy()
    found = np.array([row["prediction"] for row in predicted.json["predictions"]])
    assert (found[4:] == np.where(truth, "True", "False")[4:]).mean() > 0.8
    watched = abi("monitor", test, "--workspace", tmp_path / "ws", "--model", "robot", "--json")
    assert watched.code in (0, 4), watched.err
    replayed = abi("replay", result["run_id"], "--workspace", tmp_path / "ws")
    assert replayed.code == 0, replayed.err + replayed.out
    json.dumps(result)


def test_ratings_are_learned_ranked_predicted_and_gated(
    abi: Callable[..., object], quick: list[str], tmp_path: Path, without_prefect: None
) -> None:
    random = np.random.default_rng(0)
    who, what = random.integers(0, 12, 600), random.integers(0, 25, 600)
    worth, taste = random.normal(size=25), random.normal(size=12)
    frame = pd.DataFrame(
        {
            "who": who,
            "what": what,
            "when": pd.date_range("2024-01-01", periods=600, freq="h"),
            "stars": 3 + worth[what] + taste[who] + random.normal(0, 0.2, 600),
        }
    )
    table, ws = tmp_path / "ratings.csv", ("--workspace", tmp_path / "ws")
    frame.to_csv(table, index=False)
    roles = ("--set", "data.roles={user: who, item: what, time: when}")
    with mock.patch.object(evaluation, "derive_rows", wraps=evaluation.derive_rows) as deriving:
        answer = abi("run", table, *ws, "--target", "stars", "--name", "films", *quick, *roles, "--json")
    assert answer.code == 0, answer.err
    assert {(len(call.args[1]), call.args[2] is None) for call in deriving.call_args_list} == {(1, False)}
    result = answer.json
    assert {"who@mean", "what@mean", "what@recent"} <= set(result["attention"])
    assert result["signal"] == "found"
    assert 1 <= result["ranking"]["users"] <= 12
    assert result["ranking"]["metrics"]["ndcg@10"]["value"] > 0.8
    rows = tmp_path / "new.csv"
    frame[500:].drop(columns="stars").to_csv(rows, index=False)
    predicted = abi("predict", rows, *ws, "--model", "films", "--version", "1", "--json")
    assert predicted.code == 0, predicted.err
    found = np.array([row["prediction"] for row in predicted.json["predictions"]])
    assert np.corrcoef(found, frame["stars"][500:])[0, 1] > 0.8
    lax = ("--set", "gates.uniform=null", "--set", "gates.baseline=null", "--set", "gates.slices=null")
    promoted = abi("promote", *ws, "--model", "films", *lax, "--json")
    assert promoted.code == 0, promoted.err
    gates = {r["name"]: r for r in promoted.json["gates"]["results"]}
    assert gates["signal"]["status"] == "passed"
    assert gates["latency"]["got"].endswith("per row, its columns derived first, without a limit")
    assert abi("monitor", rows, *ws, "--model", "films", "--json").code in (0, 4)
    assert abi("replay", result["run_id"], *ws).code == 0


def test_noise_is_told_and_not_promoted(
    abi: Callable[..., object], quick: list[str], tmp_path: Path, without_prefect: None
) -> None:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(400, 3)), columns=list("abc")).assign(y=random.integers(0, 2, 400))
    table, ws = tmp_path / "noise.csv", ("--workspace", tmp_path / "ws")
    frame.to_csv(table, index=False)
    answer = abi("run", table, *ws, "--target", "y", *quick, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["signal"] == "none"
    assert answer.json["chance"]["metric"] == "roc_auc"
    assert answer.json["chance"]["value"] == 0.5
    page = Path(answer.json["report"]).read_text()
    assert "No signal was found: the model does not do better than chance." in page
    refused = abi("promote", *ws)
    assert refused.code == 4
    assert "signal" in refused.err
