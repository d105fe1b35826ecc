"""What the time of a whole run leaves one training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.config import Config, load_config
from abi.errors import PlanInfeasible
from abi.planning.run_time import left_for_one, limits, run_time_sentence, with_reason
from abi.training.pilots import shortened


def _config(**settings: object) -> Config:
    return load_config(settings={key.replace("__", "."): value for key, value in settings.items()}, ambient=False)


def test_without_it_the_limit_is_that_of_one_training() -> None:
    assert limits(_config()) == _config().envelope.limits()
    assert run_time_sentence(_config()) == ""


@pytest.mark.parametrize("refit", [False, True])
def test_pilots_control_and_refits_fit_in_it(refit: bool) -> None:
    config = _config(envelope__run_time="10min", envelope__train_time=None, training__refit=refit)
    one = limits(config).train_time_s
    assert one is not None
    together = 2 * one * (1 + 0.8 + refit)
    assert 0.8 * 600 < together < 600 - 20
    assert ("refits" in run_time_sentence(config)) == refit


def test_fewer_and_shorter_pilots_leave_more() -> None:
    few: dict[str, object] = {"attention__temperatures": [0.4], "attention__blend": False, "iterate__pilot": 0.05}
    usual, more = (left_for_one(_config(envelope__run_time="10min", **one)) for one in ({}, few))
    assert usual is not None
    assert more is not None
    assert more > 1.3 * usual


def test_without_a_control_one_training_has_twice_as_much() -> None:
    config = _config(envelope__run_time="5min", envelope__train_time=None)
    assert limits(config, controlled=False).train_time_s == 2 * (limits(config).train_time_s or 0)


def test_the_shorter_limit_holds() -> None:
    config = _config(envelope__run_time="2h", envelope__train_time="30s")
    assert limits(config).train_time_s == 30
    assert "30 s, for which 2 h" in run_time_sentence(config)


def test_the_tuning_of_encoders_comes_before() -> None:
    tuned = {"data__encoders": {"text": {"path": "minilm", "tune": {"layers": 1}}}}
    plain, before = _config(envelope__run_time="8min"), _config(envelope__run_time="8min", **tuned)
    assert limits(before).train_time_s < limits(plain).train_time_s  # type: ignore[operator]


def test_a_refusal_says_where_the_limit_comes_from() -> None:
    error = PlanInfeasible("Expected a plan within train_time=9.4 s, got none.", 7)
    said = with_reason(error, _config(envelope__run_time="1min"))
    assert "envelope.run_time=60 s leaves 9.44 s for one training" in str(said)
    assert said.parameters == 7
    assert with_reason(error, _config()) is error
    other = PlanInfeasible("Expected a plan within parameters=3, got none.", 7)
    assert with_reason(other, _config(envelope__run_time="1min")) is other


def test_pilots_of_a_short_training_keep_it(toy: Any) -> None:
    made = toy.plan(toy.problem({"a": "numeric", "b": "numeric"}))
    rows = 10 * made.execution.batch_rows
    execution = replace(made.execution, epochs=100, steps=1000)
    slow = replace(
        made,
        execution=execution,
        predicted=replace(made.predicted, train_time_s=10.0),
        envelope=replace(made.envelope, train_time_s=10.0),
    )
    assert 6 * shortened(slow, rows, 0.3, 6).execution.steps * 0.01 <= 0.8 * 10.0 + 6 * 0.1  # whole epochs
    patient = replace(slow, envelope=replace(made.envelope, train_time_s=None))
    assert 6 * shortened(patient, rows, 0.3, 6).execution.steps * 0.01 > 10.0
