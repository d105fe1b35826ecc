"""Whether new rows would ask for another attention."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.data.memory import read_memory
from abi.monitored import Reference
from abi.monitoring.attention import attention_drift, chance_band, js_distance
from abi.scoring.score import score
from abi.training.data_attention import data_weights
from abi.types import ScoreBlend

CONFIG = load_config(settings={"data.test": 0.0}, ambient=False)


def table(rows, seed, driver="a"):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.normal(size=rows) for name in "abcd"})
    frame["y"] = np.where(frame[driver] + 0.3 * random.normal(size=rows) > 0, "yes", "no")
    return frame


def reader_of(frame):
    return read_memory(frame, "y", CONFIG)


def reference_of(reader, temperature=0.4):
    scores = score(reader, CONFIG.scoring)
    return Reference(
        problem=reader.problem.id,
        snapshot="",
        artifact="",
        rows=scores.rows,
        features=(),
        prediction=None,
        weights=data_weights(scores, temperature, 0.05, 0.5, None),
        temperature=temperature,
        floor=0.05,
        cap=0.5,
        scoring=CONFIG.scoring.model_dump(mode="json"),
    )


@pytest.fixture(scope="module")
def trained():
    return reader_of(table(3000, 0))


@pytest.fixture(scope="module")
def reference(trained):
    return reference_of(trained)


def test_the_distance_by_hand():
    assert js_distance([0.3, 0.7], [0.3, 0.7]) == 0.0
    assert js_distance([1.0, 0.0], [0.0, 1.0]) == pytest.approx(1.0)
    # a = (1, 0), b = (1/2, 1/2): H(3/4, 1/4) - H(1/2, 1/2) / 2 in bits
    entropy = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert js_distance([1.0, 0.0], [0.5, 0.5]) == pytest.approx(math.sqrt(entropy - 0.5))
    assert js_distance([0.5, 0.5], [1.0, 0.0]) == pytest.approx(math.sqrt(entropy - 0.5))


def test_weights_are_those_of_the_scores_and_not_of_a_model(toy):
    problem = toy.problem({"x": "numeric", "c": "categorical"})
    attention = toy.attention(problem, [0.6, 0.2], 0.4)
    found = data_weights(attention.scores, 0.4, 0.1, 0.9, None)
    # exp(0.4 / 0.4) to 1
    assert found == pytest.approx((math.e / (1 + math.e), 1 / (1 + math.e)))
    assert data_weights(attention.scores, 0.4, 0.45, 0.6, None) == pytest.approx((0.55, 0.45))
    blend = ScoreBlend(relevance=0.0, discrimination=1.0, complexity=0.0, divergence=0.0, divergence_default=0.0)
    # the square root of discrimination over the largest: 1 and sqrt(1/3)
    blended = math.exp((1 - math.sqrt(1 / 3)) / 0.4)
    assert data_weights(attention.scores, 0.4, 0.1, 0.9, blend) == pytest.approx(
        (blended / (1 + blended), 1 / (1 + blended))
    )


def test_the_same_rows_are_at_no_distance(trained, reference):
    found = attention_drift(reference, trained, lambda: pytest.fail("chance is not asked"), CONFIG.monitor)
    assert found.distance == 0.0
    assert found.before == found.now
    assert not found.drifted


@pytest.mark.parametrize("rows", [60, 500, 3000])
def test_another_driver_is_drift_and_new_rows_are_not(trained, reference, rows):
    everything = trained.problem.split.__class__(seed=0, validation=0.0, test=0.0)

    def drift(frame):
        new = reader_of(frame)
        posed = new.problem.__class__(snapshot=new.problem.snapshot, schema=trained.problem.schema, split=everything)
        return attention_drift(reference, new.__class__(posed, new.train), lambda: trained, CONFIG.monitor)

    moved = drift(table(rows, 2, "b"))
    assert moved.rows == rows
    assert moved.drifted == (rows > 60 or moved.distance > moved.band)
    if rows >= 500:
        assert moved.drifted
        assert np.argmax(moved.now) == 1
    assert not drift(table(rows, 3)).drifted


def test_the_band_narrows_with_the_rows(trained, reference):
    wide, middle, narrow = (chance_band(reference, trained, rows, CONFIG.scoring) for rows in (60, 400, 100_000))
    assert wide > middle > narrow > 0
