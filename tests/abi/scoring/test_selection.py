"""What is selected for each class of the tail: from counts, in shards or whole, and among terms."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from abi.config import ScoringConfig, load_config
from abi.data.memory import read_memory
from abi.errors import UsageError
from abi.scoring.counts import count, merge_all, shards
from abi.scoring.edges import find_bins
from abi.scoring.score import bins_for, from_counts, score
from abi.scoring.selection import MANY_CLASSES, _term_shares
from abi.scoring.terms import TermCounts

CONFIG = ScoringConfig(groups=4)


def _labels(rows: int = 1200) -> np.ndarray:
    """Three classes: 70%, 26% and 4% of the rows."""
    return np.random.default_rng(0).choice(3, rows, p=[0.7, 0.26, 0.04])


def _reader(reader_of):
    random, label = np.random.default_rng(1), _labels()
    return reader_of(
        {
            "big": np.where(label == 0, 3.0, 0.0) + random.normal(size=len(label)),
            "own": np.where(label == 2, 3.0, 0.0) + random.normal(size=len(label)),
            "noise": random.normal(size=len(label)),
            "mark": ["there" if one == 2 else "gone" for one in label],
        },
        label,
        "multiclass",
    )


def test_a_rare_class_gets_the_features_that_tell_it_alone(reader_of):
    scores = score(_reader(reader_of), CONFIG, tail=True)
    (found,) = scores.tail
    assert (found.place, found.rows) == (2, int((_labels() == 2).sum()))
    told = dict(found.features)
    assert list(told)[:2] == ["mark", "own"]
    assert told["mark"] == pytest.approx(1.0)  # it is the class itself
    assert 0.3 < told["own"] < 1.0
    assert "noise" not in told
    assert scores.features[0].score > scores.features[1].score  # over all classes "big" tells more than "own"


def test_shards_of_any_kind_select_the_same(reader_of):
    reader = _reader(reader_of)
    bins = bins_for(reader, CONFIG, tail=True)
    parts = [count(reader, bins, CONFIG, part) for part in shards(1200, 5)]
    merged = from_counts(merge_all(parts[::-1]), bins, reader.problem, CONFIG, tail=True)
    assert merged.tail == score(reader, CONFIG, tail=True).tail


def test_what_was_not_asked_for_is_not_recorded(reader_of):
    reader = _reader(reader_of)
    plain = score(reader, CONFIG)
    assert "tail" not in plain.to_json()
    assert plain.features == score(reader, CONFIG, tail=True).features


def test_classes_beyond_those_that_are_told_apart_have_nothing(reader_of):
    random = np.random.default_rng(2)
    label = np.concatenate([np.repeat(np.arange(MANY_CLASSES), 2), np.arange(MANY_CLASSES, MANY_CLASSES + 8)])
    reader = reader_of({"x": random.normal(size=len(label))}, label, "multiclass")
    bins = bins_for(reader, CONFIG, tail=True)
    assert bins.target.size == MANY_CLASSES
    assert find_bins(reader, CONFIG).target.size < MANY_CLASSES
    assert {s.rows for s in score(reader, CONFIG, tail=True).tail} == {2}  # not the joint class of the rarest


def test_a_value_has_no_tail(reader_of):
    reader = reader_of({"x": np.arange(50.0)}, np.arange(50.0), "regression")
    with pytest.raises(UsageError, match=r"Expected a target of classes for attention\.tail, got task regression"):
        score(reader, CONFIG, tail=True)


def test_a_term_is_held_against_shuffled_rows() -> None:
    # of 100 rows, 4 of the class: term 0 stands in all of them and nowhere else, 1 in two of them and nowhere else,
    # 2 in two of them as in half of all rows, 3 in one
    table = np.array([[0, 4], [0, 2], [48, 2], [0, 1]])
    shares = _term_shares(TermCounts(np.array([96, 4]), table), 1, 0.05)
    chances = [1 / comb(100, 4), comb(4, 2) / comb(100, 2)]
    assert hypergeom.sf([3, 1], 100, 4, [4, 2]) == pytest.approx(chances)
    assert chances[1] < 0.05 * 2 / 4  # the second is below its limit too
    assert shares[0] == pytest.approx(1 - (1 / 200) / -(0.04 * np.log(0.04) + 0.96 * np.log(0.96)))
    assert 0 < shares[1] < shares[0]
    assert shares[2] == shares[3] == 0
    assert not _term_shares(TermCounts(np.array([100, 0]), np.array([[4, 0]])), 1, 0.05).any()


def test_the_terms_of_a_rare_class_are_weighed_beside_their_scores() -> None:
    random, label = np.random.default_rng(3), _labels(600)
    words = [" ".join(random.choice([f"w{i}" for i in range(30)], 5)) for _ in label]
    own = np.array(["often", "seldom", "chargeback"])[label]
    frame = pd.DataFrame({"text": [f"{a} {b}" for a, b in zip(words, own, strict=True)], "y": [f"c{i}" for i in label]})
    config = load_config(settings={"data.columns": {"text": "text"}, "scoring.pieces": "off"}, ambient=False)
    reader = read_memory(frame, "y", config)
    scores = score(reader, config.scoring, tail=True)
    (found,), (known,) = scores.tail, scores.terms
    assert dict(found.terms)["text"][0] == "chargeback"
    tail = dict(zip(known.terms, known.tail, strict=True))
    assert sum(tail.values()) == pytest.approx(1.0, abs=1e-6)
    assert max(tail, key=tail.__getitem__) == "chargeback"
    assert tail["often"] == 0
    assert score(reader, config.scoring).terms[0].scores == known.scores
