"""Pretrained vectors as one column among others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.data.columns import Codes
from abi.data.memory import read_memory
from abi.scoring.score import score
from abi.scoring.vector_bins import CENTRES, nearest, vector_bins


def _clusters(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    of = random.integers(0, 2, rows)
    vectors = (10 * of[:, None] + random.normal(size=(rows, 3))).astype(np.float32)
    return of, vectors


def _codes(vectors: np.ndarray) -> Codes:
    return Codes(np.arange(len(vectors), dtype=np.int32), tuple(f"t{i}" for i in range(len(vectors))), vectors)


def test_the_nearest_centre() -> None:
    centres = np.array([[0.0, 0.0], [4.0, 0.0]], np.float32)
    assert nearest(np.array([[1.9, 0.0], [2.1, 9.0], [-5.0, 1.0]], np.float32), centres).tolist() == [0, 1, 0]


def test_texts_of_one_cluster_share_bins() -> None:
    of, vectors = _clusters(400)
    bins = vector_bins(_codes(vectors))
    assert bins.size == 400 // 16 + 1
    fresh_of, fresh = _clusters(300, seed=1)
    found = bins.codes(_codes(fresh))
    for one in np.unique(found):
        assert len(np.unique(fresh_of[found == one])) == 1
    del of


def test_missing_texts_have_the_last_bin() -> None:
    _, vectors = _clusters(64)
    bins = vector_bins(_codes(vectors))
    assert bins.codes(Codes(np.array([-1, 0], np.int32), ("t0",), vectors[:1]))[0] == bins.size - 1


def test_one_text_alone_has_one_bin() -> None:
    column = Codes(np.zeros(50, np.int32), ("same",), np.ones((1, 3), np.float32))
    assert vector_bins(column).size == 2
    assert vector_bins(Codes(np.full(5, -1, np.int32), (), np.zeros((0, 3), np.float32))).size == 2


def test_there_are_never_more_centres_than_the_limit() -> None:
    _, vectors = _clusters(CENTRES * 20)
    assert vector_bins(_codes(vectors)).size == CENTRES + 1


@pytest.mark.parametrize("told", [True, False])
def test_vectors_carry_signal_where_they_tell_the_target(told: bool, tiny_bert: object) -> None:
    random = np.random.default_rng(3)
    words = random.choice(["good", "bad"], 600)
    label = np.where(words == "good", "yes", "no") if told else random.choice(["no", "yes"], 600)
    texts = [f"{word} film {' '.join(random.choice(['a', 'the', 'is', 'very', 'plot'], 6))}" for word in words]
    config = load_config(settings={"data.encoders.text": str(tiny_bert), "data.columns.text": "text"}, ambient=False)

    def vectors(_: object, asked: list[str]) -> np.ndarray:
        random = np.random.default_rng(0)
        noise = random.normal(size=(len(asked), 8)).astype(np.float32)
        return noise + 5 * np.array([["good" in text] for text in asked], np.float32)

    reader = read_memory(pd.DataFrame({"text": texts, "label": label}), "label", config, vectors=vectors)
    found = {f.feature: f for f in score(reader, config.scoring).features}
    assert found["text:encoder"].carries_signal is told
    if told:
        assert found["text:encoder"].relevance > 0.8
