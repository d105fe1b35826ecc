"""Scores where rows have any number of labels: each label's own tables, added up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.data.memory import read_memory
from abi.data.reader import Reader
from abi.errors import DataError
from abi.inputs.terms import PIECE
from abi.scoring import terms
from abi.scoring.counts import count, merge_all, shards
from abi.scoring.edges import find_bins
from abi.scoring.score import from_counts, score

CONFIG = load_config(ambient=False)


def _reader(labels: Any, rows: int = 600, **columns: Any) -> Reader:
    frame = pd.DataFrame(columns | {"y": labels})
    assert len(frame) == rows
    return read_memory(frame, "y", CONFIG)


def _sets(marks: dict[str, np.ndarray]) -> list[list[str]]:
    return [[name for name, mark in marks.items() if mark[i]] for i in range(len(next(iter(marks.values()))))]


def test_of_one_label_the_scores_are_those_of_two_classes() -> None:
    random = np.random.default_rng(0)
    x, noise = random.normal(size=600), random.normal(size=600)
    has = x + random.normal(size=600) > 0
    several = score(_reader(_sets({"a": has}), x=x, noise=noise), CONFIG.scoring)
    two = score(_reader(np.where(has, "yes", "no"), x=x, noise=noise), CONFIG.scoring)
    for one, other in zip(several.features, two.features, strict=True):
        for name in ("relevance", "discrimination", "redundancy", "complexity", "score", "low", "high"):
            assert getattr(one, name) == pytest.approx(getattr(other, name)), name
        assert one.carries_signal == other.carries_signal


def test_a_feature_of_one_label_counts_by_that_labels_share_of_the_entropy() -> None:
    random = np.random.default_rng(1)
    a, b = random.random(4000) < 0.5, random.random(4000) < 0.1
    labels = _sets({"a": a, "b": b})
    noise = random.normal(size=4000)
    found = {
        f.feature: f for f in score(_reader(labels, 4000, a=a * 1.0, b=b * 1.0, noise=noise), CONFIG.scoring).features
    }
    whole = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.5, 0.1)]
    assert found["a"].relevance == pytest.approx(whole[0] / sum(whole), abs=0.02)
    assert found["b"].relevance == pytest.approx(whole[1] / sum(whole), abs=0.02)
    assert found["a"].discrimination == pytest.approx(0.25 / (0.25 + 0.09), abs=0.02)
    assert (found["b"].carries_signal, found["noise"].carries_signal) == (True, False)


def test_counts_of_shards_add_up_to_those_of_the_whole() -> None:
    random = np.random.default_rng(2)
    marks = {name: random.random(900) < 0.3 for name in "abc"}
    reader = _reader(_sets(marks), 900, x=random.normal(size=900), c=random.choice(["p", "q"], 900))
    bins = find_bins(reader, CONFIG.scoring)
    whole = count(reader, bins, CONFIG.scoring)
    parts = merge_all([count(reader, bins, CONFIG.scoring, part) for part in shards(900, 3)])
    assert all((a == b).all() for a, b in zip(whole.tables, parts.tables, strict=True))
    assert whole.rows == parts.rows == int(whole.tables[0][..., -1].sum())
    train = reader.load("train")
    assert train.target is not None
    assert whole.tables[0].sum(axis=(0, 1))[:-1].tolist() == train.target.sum(axis=0).tolist()
    first = from_counts(whole, bins, reader.problem, CONFIG.scoring)
    assert first.id == from_counts(parts, bins, reader.problem, CONFIG.scoring).id


def test_a_terms_score_is_its_information_about_every_label_by_hand() -> None:
    vocabulary = ["x", "y"]
    # four rows: x in rows 0 and 1, which alone have label a; y in rows 0 and 2; label b in rows 0 and 2, 1 and 3 lack it
    table = np.array([[2, 1, 2], [1, 2, 2]])
    counts = terms.TermCounts(np.array([2, 2, 4]), table)
    found = terms.from_label_counts("t", vocabulary, counts)
    assert found.texts == 4
    # x tells a wholly (ln 2) and nothing of b; each label that it stands with costs 1/8; y is the other way round
    assert found.scores == pytest.approx([1.0, 1.0])
    alone = terms.from_label_counts("t", ["x"], terms.TermCounts(np.array([2, 2, 4]), table[:1]))
    assert alone.scores == pytest.approx([1.0])
    less = terms.from_label_counts(
        "t", ["x", "z"], terms.TermCounts(np.array([2, 2, 4]), np.array([[2, 1, 2], [1, 1, 2]]))
    )
    assert less.scores[1] == 0.0


def test_terms_of_texts_are_found_by_their_labels() -> None:
    random = np.random.default_rng(3)
    marks = {name: random.random(600) < 0.3 for name in ("card", "loan")}
    told = [[n for n in marks if marks[n][i]] for i in range(600)]
    texts = [" ".join(random.permutation([*t, *random.choice([f"w{i}" for i in range(30)], 8)])) for t in told]
    found = score(_reader(_sets(marks), text=texts, x=random.normal(size=600)), CONFIG.scoring)
    scored = found.terms_of("text")
    words = [pair for pair in zip(scored.scores, scored.terms, strict=True) if not pair[1].startswith(PIECE)]
    best = sorted(words, reverse=True)[:2]
    assert {term for _, term in best} == {"card", "loan"}
    by_name = {f.feature: f for f in found.features}
    assert by_name["text"].carries_signal
    assert by_name["text"].score > by_name["x"].score


def test_rows_of_training_without_any_label_are_told() -> None:
    labels = [[] for _ in range(540)] + [["a"] if i % 2 else ["b"] for i in range(60)]
    config = load_config(settings={"data.order": "t"}, ambient=False)
    reader = read_memory(pd.DataFrame({"x": np.arange(600.0) % 7, "t": np.arange(600), "y": labels}), "y", config)
    with pytest.raises(DataError, match="Expected some training row with a label in the target 'y', got none"):
        score(reader, config.scoring)
