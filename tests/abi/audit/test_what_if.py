"""Decisions under other settings, without training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.audit.what_if import what_if
from abi.errors import PlanInfeasible, UsageError


def test_no_change_changes_nothing(record: Any) -> None:
    for asked in ({"training__family": "auto"}, {"training__family": "trees"}):
        run = record(1, **asked).run
        found = what_if(run, {"memory": "4GiB"})  # the default
        assert found.moved == 0
        assert found.predicted[0] == found.predicted[1]
        assert all(f.attention[0] == f.attention[1] and f.width[0] == f.width[1] for f in found.features)
        same = what_if(run, {"attention.movement": "0.5"})
        assert (same.moved, same.predicted[1]) == (0, same.predicted[0])


def test_a_temperature_is_the_softmax_of_the_scores(record: Any) -> None:
    run = record(1, training__family="network", iterate__rounds=1).run
    found = what_if(run, {"attention.temperature": "0.5", "attention.floor": "0", "attention.cap": "1"})
    exponents = np.exp(np.array([f.score for f in run.scores.features]) / 0.5)
    assert [f.attention[1] for f in found.features] == pytest.approx((exponents / exponents.sum()).tolist(), rel=1e-6)
    even = what_if(run, {"attention.temperature": "even"})
    assert {f.attention[1] for f in even.features} == {0.25}


def test_caution_decides_which_trial_is_taken(record: Any) -> None:
    run = record(1, training__family="network", iterate__rounds=1, attention__caution=0).run
    trials = run.rounds[0].plan.attention.trials
    assert any(t.gain and t.gain > 0 for t in trials)
    found = what_if(run, {"attention.caution": "1000000"})  # nothing is taken over the even split
    assert {f.attention[1] for f in found.features} == {0.25}


def test_a_smaller_envelope_gives_less(record: Any) -> None:
    run = record(1, training__family="network", iterate__rounds=1).run
    found = what_if(run, {"parameters": "500"})
    assert found.predicted[1].parameters <= 500 < found.predicted[0].parameters
    assert sum(f.width[1] or 0 for f in found.features) < sum(f.width[0] or 0 for f in found.features)
    assert found.changes == {"parameters": "500"}
    with pytest.raises(PlanInfeasible):
        what_if(run, {"parameters": "2"})


def test_another_family(record: Any) -> None:
    run = record(1, training__family="auto").run
    assert what_if(run, {"training.family": "trees"}).family[1] == "trees"


@pytest.mark.parametrize(
    "key", ["training", "scoring.bins", "seed", "training.threads", "attention.temperatures", "memory_bytes"]
)
def test_what_needs_data_or_training_is_refused(record: Any, key: str) -> None:
    with pytest.raises(UsageError, match=f"got '{key}'"):
        what_if(record(1, training__family="network").run, {key: "1"})


def test_older_runs_say_so(record: Any) -> None:
    run = record(1, training__family="network").run
    with pytest.raises(UsageError, match="which is older"):
        what_if(replace(run, conditions=None), {"memory": "1GiB"})


def test_parts_of_one_value_are_refused(record: Any) -> None:
    run = record(1, training__family="network", iterate__rounds=1).run
    with pytest.raises(UsageError, match=r"got 'training\.epochs\.x': 'training\.epochs' is one value"):
        what_if(run, {"training.epochs.x": "3"})
