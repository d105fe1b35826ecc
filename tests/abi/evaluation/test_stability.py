"""Attention fitted again: to halves of the rows, and to noisy ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.attention.fit import fit
from abi.config import Config, load_config
from abi.data.memory import read_memory
from abi.data.reader import Reader
from abi.evaluation.stability import halves, moved, rank_correlation, stability
from abi.scoring.score import score

CONFIG = load_config(settings={"data.test": 0.0}, ambient=False)
TEXT = load_config(settings={"data.test": 0.0, "data.columns": {"note": "text"}}, ambient=False)


def _reader(rows: int, noise: float, text: bool = False, config: Config = CONFIG) -> Reader:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=rows) for name in "abcd"})
    drive = frame["a"] + 0.5 * frame["b"] + 0.25 * frame["c"]
    yes = drive + noise * random.normal(size=rows) > 0
    if text:
        words = [f"w{i}" for i in range(60)]
        frame["note"] = [" ".join([*random.choice(words, 6), "good" if y else "bad"]) for y in yes]
        frame = frame.drop(columns=["c", "d"])
    frame["y"] = np.where(yes, "yes", "no")
    return read_memory(frame, "y", config)


def _found(
    rows: int, noise: float, temperature: float | None = 0.4, *, text: bool = False, config: Config = CONFIG
) -> Any:
    reader = _reader(rows, noise, text, config)
    attention = fit(score(reader, config.scoring), temperature, config.attention)
    return stability(reader, attention, reader.load("train"), config)


def test_movement_is_of_the_weights_in_use() -> None:
    used, before = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    assert moved(used, before, before) == 0
    # the data's weights go from 4:1 to 1:1, a factor of 4 for the second: 1:1 in use becomes 1:4
    assert moved(used, before, np.array([0.5, 0.5])) == pytest.approx(0.3)


def test_ranks_are_correlated_and_constants_have_none() -> None:
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([10.0, 30, 20, 40])) == pytest.approx(0.8)  # 1 - 6*2/60
    assert rank_correlation(np.array([1.0, 2]), np.array([3.0, 3.0])) is None


def test_halves_come_with_their_complements() -> None:
    found = halves(10, 2, seed=0)
    assert len(found) == 4
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert sorted([*one, *other]) == list(range(10))
        assert len(one) == 5


def test_many_rows_hold_attention_more_steadily_than_few() -> None:
    few, many = _found(400, 0.5), _found(12_000, 0.5)
    assert [s.kind for s in few] == ["resampled", "noise", "noise", "noise"]
    assert [s.refits for s in few] == [10, 3, 3, 3]
    assert many[0].moved < 0.5 * few[0].moved
    assert many[0].rank >= few[0].rank
    assert all(s.moved <= s.moved_most for s in few)


def test_more_noise_moves_attention_more() -> None:
    weak, middle, strong = _found(12_000, 0.1)[1:]
    assert weak.moved < middle.moved < strong.moved
    assert (weak.strength, middle.strength, strong.strength) == ("weak", "middle", "strong")


def test_where_the_even_split_is_in_use_the_datas_attention_is_looked_at() -> None:
    even = _found(2000, 0.5, temperature=None)
    fitted = _found(2000, 0.5, temperature=1.0)  # the flattest candidate
    assert even[0].moved == pytest.approx(fitted[0].moved)
    assert even[0].moved > 0


def test_terms_of_a_text_have_lines_of_their_own() -> None:
    found = _found(1500, 0.3, text=True, config=TEXT)
    assert len(found) == 8
    own = [s for s in found if s.feature == "note"]
    assert [s.kind for s in own] == ["resampled", "noise", "noise", "noise"]
    assert own[0].rank is not None
    assert own[1].moved < own[3].moved  # harmed words


def test_a_text_alone_has_no_attention_to_move() -> None:
    columns = {"note": "text", "a": "ignore", "b": "ignore"}
    config = load_config(settings={"data.test": 0.0, "data.columns": columns}, ambient=False)
    assert {s.feature for s in _found(600, 0.3, text=True, config=config)} == {"note"}
