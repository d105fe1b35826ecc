"""Several labels per row, a class out of scope and rare classes on the command line: run, predict, replay, report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

KINDS = {
    "lists": ((), "multilabel"),
    "text": (("--set", "data.separator=|"), "multilabel"),
    "oos": (("--set", "data.out_of_scope=oos"), "multiclass"),
    "rare": (("--set", "evaluation.metric=f1_macro", "--set", "training.family=trees"), "multiclass"),
    "tail": (("--set", "attention.tail=0.3", "--set", "attention.caution=0"), "multiclass"),
}


def _table(kind: str, rows: int = 260) -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"size": random.normal(size=rows), "colour": random.choice(["red", "green", "blue"], rows)})
    labels = [
        [name for name, has in (("large", size > 0), ("warm", colour == "red")) if has]
        for size, colour in zip(table["size"], table["colour"], strict=True)
    ]
    if kind in {"lists", "text"}:
        table["label"] = labels if kind == "lists" else ["|".join(one) or "|" for one in labels]
    else:
        table["label"] = np.select(
            [table["size"] > 1.0, table["size"] > -0.2], ["oos" if kind == "oos" else "top", "middle"], "bottom"
        )
    return table


@pytest.mark.parametrize("kind", list(KINDS))
def test_from_a_file_to_predictions_and_back(abi, quick, tmp_path, without_prefect, kind):
    settings, task = KINDS[kind]
    data, ws = tmp_path / "shop.parquet", tmp_path / "ws"
    _table(kind).to_parquet(data)
    run = abi("run", data, "--target", "label", "--workspace", ws, *quick, *settings, "--json")
    assert run.code == 0, run.err
    assert run.json["task"] == task
    page = Path(run.json["report"]).read_text()
    if task == "multilabel":
        assert set(run.json["metrics"]) == {"f1_micro", "f1_macro", "subset_accuracy"}
        assert "any of 2 labels" in page
        assert run.json["family"] == "network"
    if kind == "oos":
        assert {"in_scope_accuracy", "out_of_scope_recall", "out_of_scope_auroc"} <= set(run.json["metrics"])
        assert "recall out of scope" in page
    if kind == "rare":
        assert run.json["primary"] == "f1_macro"
        assert run.json["groups"]["tail"] == ["top"]
        assert run.json["balance"]["reason"]
        assert "tail: 1 class with" in page
    if kind == "tail":
        assert "tail      features are selected for 1 of 1 classes of the tail" in run.err
        assert "What is selected for each tail class" in page
        told = abi("explain", "shop/1", "size", "--workspace", ws)
        assert told.code == 0, told.err
        assert "tail       selected for 1 of 1 rare class, which share" in told.out
        assert "top (" in told.out
    answer = abi("predict", data, "--workspace", ws, "--model", "shop", "--version", 1, "--json")
    assert answer.code == 0, answer.err
    first = answer.json["predictions"][0]["prediction"] if isinstance(answer.json["predictions"], list) else None
    assert isinstance(first, list if kind == "lists" else str)
    replayed = abi("replay", run.json["run_id"], "--workspace", ws, "--json")
    assert replayed.code == 0, replayed.err
    decisions = {one["name"]: one for one in json.loads(replayed.out)["decisions"]}
    for name in ("schema", "scores", "attention", "plan 1", "control"):
        assert decisions[name]["recomputed"] == decisions[name]["recorded"], decisions[name]
