"""A model that learns from its validation rows in the end: what is registered, recorded and replayed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def test_what_is_registered_has_learned_from_all_taught_rows(abi, quick, tmp_path, without_prefect):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(300, 3)), columns=list("abc"))
    table["label"] = np.where(table["a"] + 0.2 * random.normal(size=300) > 0, "in", "out")
    data, held, ws = tmp_path / "shop.parquet", tmp_path / "held.parquet", tmp_path / "ws"
    table[:240].to_parquet(data)
    table[240:].to_parquet(held)
    words = [
        w for s in ("training.refit=true", "attention.temperatures=[0.1]", "attention.caution=0") for w in ("--set", s)
    ]
    run = abi("run", data, "--test", held, "--target", "label", "--workspace", ws, *quick, *words, "--json")
    assert run.code == 0, run.err
    again = run.json["refit"]
    assert again["rows"] == 240
    assert again["epochs"] >= 1
    told = abi("audit", "ls", "--workspace", ws, "--json")
    artifacts = [e["detail"].get("artifact") for e in told.json["entries"] if e["kind"] in {"training", "outcome"}]
    assert again["judged"] in artifacts
    assert artifacts[-1] != again["judged"]
    assert (ws / "models" / artifacts[-1]).is_dir()
    replayed = abi("replay", "shop/1", "--workspace", ws, "--json")
    assert replayed.code == 0, replayed.err
    page = Path(run.json["report"]).read_text()
    assert "trained once more on training and validation rows together: 240 rows" in page
    predicted = abi(
        "predict", held, "--model", "shop", "--version", 1, "--workspace", ws, "--out", tmp_path / "out.csv"
    )
    assert predicted.code == 0, predicted.err
