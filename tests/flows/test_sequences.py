"""A text that is read word after word, from `abi run` to predictions of another process; and from an estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi import AttentionBalancedClassifier
from abi.config import load_config

QUICK = ("training.threads=1", "iterate.rounds=1", "attention.temperatures=[0.4]", "training.family=network")
QUICK_TOO = (
    "evaluation.resamples=100",
    "evaluation.latency_calls=5",
    "checks.data_docs=false",
    "data.columns.text=text",
)


def _table(rows: int, seed: int) -> pd.DataFrame:
    """Ten words, with "alpha _ omega" where the label is yes and "omega _ alpha" where it is no."""
    random = np.random.default_rng(seed)
    said = random.integers(0, 2, rows)
    texts = []
    for one in said:
        words = random.choice([f"w{i}" for i in range(20)], 10).tolist()
        at = int(random.integers(0, 8))
        words[at], words[at + 2] = ("alpha", "omega") if one else ("omega", "alpha")
        texts.append(" ".join(words))
    return pd.DataFrame({"text": texts, "size": random.normal(size=rows), "label": np.where(said, "yes", "no")})


def test_order_that_terms_cannot_see_is_learned() -> None:
    train, held = _table(900, 0), _table(400, 1)
    found = {}
    for names in ((), ("text",)):
        settings = {"data.columns": {"text": "text"}, "data.sequences": names}
        model = AttentionBalancedClassifier(family="network", rounds=1, n_jobs=1, settings=settings)
        found[names] = model.fit(train[["text"]], train["label"])
    right = {names: model.score(held[["text"]], held["label"]) for names, model in found.items()}
    assert right["text",] > 0.95
    assert right[()] < 0.62
    given = {f.feature: f.width for f in found["text",].plan_.capacity.features}
    assert given["text"] == 0  # its terms carry no signal
    assert given["text:sequence"] > 0
    strange = pd.DataFrame({"text": [None, "", "never seen", "omega"]})
    assert np.isfinite(found["text",].predict_proba(strange)).all()


def test_a_run_is_planned_kept_and_predicted_from(abi, command, without_prefect, tmp_path: Path) -> None:
    table = _table(400, 0)
    table.loc[:9, "text"] = None
    data = tmp_path / "phrases.csv"
    table.to_csv(data, index=False)
    flags = [w for s in (*QUICK, *QUICK_TOO, "training.epochs=6", "data.sequences=all") for w in ("--set", s)]
    answer = abi("run", data, "--target", "label", "--workspace", tmp_path / "ws", *flags, "--json")
    assert answer.code == 0, answer.err
    assert set(answer.json["attention"]) == {"text", "text:sequence", "size"}
    told = abi("predict", data, "--workspace", tmp_path / "ws", "--version", 1)
    assert told.code == 0, told.err
    assert command("predict", data, "--workspace", tmp_path / "ws", "--version", 1).out == told.out


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ('["size"]', "got 'size', a numeric one: name a column of text"),
        ('["label"]', "got 'label', the target: name a column of text"),
        ('["txet"]', "did you mean 'text'?"),
    ],
)
def test_a_column_without_text_is_no_sequence(abi, without_prefect, tmp_path: Path, named: str, sentence: str) -> None:
    data = tmp_path / "phrases.csv"
    _table(60, 0).to_csv(data, index=False)
    flags = ["--set", "data.columns.text=text", "--set", f"data.sequences={named}"]
    answer = abi("run", data, "--target", "label", "--workspace", tmp_path / "ws", *flags)
    assert answer.code == 2
    assert sentence in answer.sentence


def test_unset_nothing_is_written_of_it() -> None:
    assert "sequences" not in load_config(ambient=False).recorded()["data"]
    asked = load_config(settings={"data.sequences": ["text"]}, ambient=False)
    assert asked.recorded()["data"]["sequences"] == ["text"]
