from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from abi.adapting.stream import infer, places_in
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
        (lambda t: t.assign(y=["a"] * 300 + ["b"] * 400), DataError, "at least two values in the target 'y'"),
        (lambda t: t.rename(columns={"y": "Y"}), UsageError, "did you mean 'Y'?"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(brook, change, error, said):
    with pytest.raises(error, match=said.replace("?", r"\?")):
        brook.open(change(brook.flip()), brook.config())
