from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from abi.adapting.stream import expect_scored, in_order, infer, places_in
from abi.data.memory import hold, to_arrow
from abi.errors import DataError, UsageError


def test_schema_is_of_the_warmup_and_derived_columns_are_features(brook):
    stream, schema = brook.open(brook.flip(), brook.config())
    names = [f.name for f in schema.features]
    assert names[:3] == ["a", "b", "c"]
    assert {"y: lag 1", "y: run", "y: share of yes in 8", "a: change 1", "b: change 1"} == set(names[3:])
    assert schema.classes == ("no", "yes")
    assert set(stream.classes) == {"no", "yes"}
    assert stream.warmup == 100


def test_a_name_that_is_taken_gets_another(brook):
    table = brook.flip()
    table["y: run"] = np.random.default_rng(1).normal(size=len(table))
    stream, _ = brook.open(table, brook.config())
    assert "y: run_" in stream.kinds


def test_a_class_that_comes_late_is_learned_at_the_end_of_the_others(brook):
    table = brook.flip()
    table.loc[400:450, "y"] = "maybe"
    config = brook.config()
    stream, schema = brook.open(table, config)
    assert schema.classes == ("no", "yes")
    assert places_in(stream, schema)[400] == -1
    later = infer(stream, stream.latest(500, 300), config, schema)
    assert later.classes == ("no", "yes", "maybe")
    assert later.task == "multiclass"
    assert places_in(stream, later)[400] == 2


def test_labels_are_looked_through_once_for_the_last_and_the_new_ones(brook):
    table = brook.flip()
    table.loc[400:450, "y"] = "maybe"
    stream, _ = brook.open(table, brook.config(adapt__label_delay=3))
    assert stream.last is stream.last
    for row in (3, 200, 402, 403, 404, 699):
        seen = np.unique(stream.codes[stream.arrivals.rows[: stream.arrivals.until(row)]])
        assert stream.classes_until(row).tolist() == seen.tolist()


def test_rows_that_say_nothing_leave_what_was_known(brook):
    table = brook.flip()
    table.loc[300:500, "y"] = "no"
    config = brook.config()
    stream, schema = brook.open(table, config)
    assert infer(stream, stream.latest(480, 50), config, schema) == schema


def test_many_whole_numbers_are_classes_where_the_whole_column_says_so(brook):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(size=2000), "y": random.permutation(np.repeat(np.arange(20), 100))})
    assert brook.open(table, brook.config(adapt__warmup=60))[1].task == "multiclass"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda t: t.head(90), DataError, "Expected a stream with at least 50 labelled rows in its warm-up"),
        (lambda t: t.head(105), DataError, "and 10 rows after it, got 100 and 5 of 105"),
        (lambda t: t.assign(y=[None] * 100 + ["a", "b"] * 300), DataError, "got 0 and 600 of 700"),
        (
            lambda t: t.assign(y=["a"] * 300 + ["b"] * 400),
            DataError,
            "two values in the target 'y' among the 100 labelled rows of the warm-up, got one: raise adapt.warmup",
        ),
        (
            lambda t: t.assign(y=[1.0] * 300 + [i / 7 for i in range(400)]),
            DataError,
            "two values in the target 'y' among the 100 labelled rows of the warm-up, got one: raise adapt.warmup",
        ),
        (lambda t: t.assign(y="a"), DataError, "at least two values in the target 'y', got one only"),
        (lambda t: t.rename(columns={"y": "Y"}), UsageError, "did you mean 'Y'?"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(brook, change, error, said):
    with pytest.raises(error, match=said.replace("?", r"\?")):
        brook.open(change(brook.flip()), brook.config())


def test_there_are_labels_to_score_by(brook):
    stream = brook.open(brook.flip().assign(y=["a", "b"] * 100 + [None] * 500), brook.config())[0]
    expect_scored(stream, 190)
    with pytest.raises(DataError, match=r"at least 10 rows with a label from row 192 on, .* got 9: give more"):
        expect_scored(stream, 191)


def _timed(brook):
    table = brook.flip()
    return table.assign(when=pd.date_range("2024-01-01", periods=len(table), freq="h").astype(str))


def test_rows_are_followed_by_the_column_of_times_that_the_settings_name(brook):
    table = _timed(brook)
    mixed = table.sample(frac=1, random_state=0)
    config = brook.config(data__order="when")
    rows, numbers, moved = in_order(hold(to_arrow(mixed)), config)
    assert moved
    assert rows["a"].to_pylist() == table["a"].tolist()
    assert mixed["a"].to_numpy()[numbers].tolist() == table["a"].tolist()
    straight, places, moved = in_order(hold(to_arrow(table)), config)
    assert (straight, places.tolist(), moved) == (rows, list(range(len(table))), False)
    for asked in (brook.config(), brook.config(data__order="rows")):
        assert in_order(hold(to_arrow(mixed)), asked)[0]["a"].to_pylist() == mixed["a"].tolist()


def test_rows_without_a_time_are_left_out_up_to_the_limit(brook):
    table = _timed(brook)
    table.loc[[3, 5], "when"] = None
    held = hold(to_arrow(table))
    rows, numbers, moved = in_order(held, brook.config(data__order="when", checks__no_time=0.01))
    assert (rows.num_rows, moved) == (len(table) - 2, False)
    assert numbers[:5].tolist() == [0, 1, 2, 4, 6]
    with pytest.raises(DataError, match=r"got none in 2 of 700, the first in row 4"):
        in_order(held, brook.config(data__order="when", checks__no_time=0.001))


def test_an_order_that_is_not_there_is_refused(brook):
    held = hold(to_arrow(brook.flip()))
    with pytest.raises(UsageError, match=r"Expected data.order as a column of the table or rows, got 'when'"):
        in_order(held, brook.config(data__order="when"))
    with pytest.raises(UsageError, match=r"Expected data.roles.time as a column of the table or rows, got 'when'"):
        in_order(held, brook.config(data__roles__time="when", data__roles__user="a", data__roles__item="b"))
