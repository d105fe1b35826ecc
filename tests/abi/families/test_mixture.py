"""What is remembered of a stream goes on as the stream's own derived columns would."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from abi.adapting.derived import change
from abi.families.onward import Going, Onward


def onward(*halves: float) -> Onward:
    return Onward(texts={}, numbers={}, going=tuple(Going(name=f"{h}", feature="x", half=h) for h in halves))


def test_a_change_goes_on_where_the_stream_ended():
    random = np.random.default_rng(0)
    values = np.where(random.random(120) < 0.2, np.nan, random.normal(size=120))
    halves = (0.0, 8.0, 64.0)
    repeated = np.column_stack([values] * 3)
    kept = Onward.from_json(onward(*halves).after(repeated[:70]).to_json())
    found = kept.changes(repeated[70:])
    for i, half in enumerate(halves):
        np.testing.assert_array_equal(found[:, i], change(values, half)[70:])


def test_of_nothing_there_is_no_change_and_a_first_value_begins():
    found = onward(0.0, 1.0).changes(np.array([[np.nan] * 2, [3.0] * 2, [5.0] * 2, [np.nan] * 2, [7.0] * 2]))
    assert np.isnan(found[:2]).all()
    assert found[2].tolist() == [2.0, 2.0]
    assert np.isnan(found[3]).all()
    # mean of 3 and 5 with weights 1/2 and 1 is 13/3; a row without a value makes both weights half of that
    assert found[4] == pytest.approx([2.0, 7 - 13 / 3])
    assert pd.notna(found[4]).all()
