"""Short trainings that choose the temperature and the control's seed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.errors import PlanInfeasible
from abi.training import pilots
from abi.training.choice import flattest, trial_of
from abi.training.pilots import choose_control, choose_temperature


@pytest.fixture(name="losses")
def _losses(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    """Injected: the validation loss of a pilot by temperature or seed."""
    table: dict[Any, float] = {}

    class Fitted:
        def __init__(self, loss: float) -> None:
            self.model = None
            self.trained = type("Trained", (), {"loss": loss, "metric": -loss})
            self.row_losses = np.full(50, loss) + 0.01 * np.sin(np.arange(50.0))

    def train(plan: Any, train_rows: Any, validation: Any, config: Any, *, seed: int, processes: int) -> Fitted:
        assert processes == 1  # to start others takes longer
        key = plan.attention.temperature if plan.attention.temperature in table else seed
        table.setdefault("rows", len(train_rows))
        return Fitted(table[key])

    monkeypatch.setattr(pilots, "train", train)
    return table


def _choose(toy: Any, table: Any, signal: bool = True, **settings: Any) -> Any:
    config = toy.config(**{"attention__temperatures": [1.0, 0.1, 0.4], "attention__blend": False} | settings)
    scores = toy.scores(table.problem, [0.9, 0.1, 0.2], signal)
    return choose_temperature(
        scores, config, lambda a: toy.plan(table.problem, config, a), table.train, table.validation
    )


def test_the_temperature_with_clearly_the_least_loss_is_taken(toy: Any, losses: dict[Any, float]) -> None:
    losses.update({None: 0.9, 1.0: 0.7, 0.4: 0.3, 0.1: 0.5})
    found = _choose(toy, toy.table("binary"))
    assert found.temperature == 0.4
    assert [(t.temperature, t.loss) for t in found.trials] == [(None, 0.9), (1.0, 0.7), (0.4, 0.3), (0.1, 0.5)]


def test_nothing_steeper_is_tried_than_what_is_clearly_worse(toy: Any, losses: dict[Any, float]) -> None:
    losses.update({None: 0.5, 1.0: 0.4, 0.4: 0.6, 0.1: 0.1})
    found = _choose(toy, toy.table("binary"))
    assert [t.temperature for t in found.trials] == [None, 1.0, 0.4]
    assert found.temperature == 1.0


def test_ties_go_to_the_even_split(toy: Any, losses: dict[Any, float]) -> None:
    losses.update({None: 0.5, 1.0: 0.5, 0.4: 0.5, 0.1: 0.5})
    assert _choose(toy, toy.table("binary")).temperature is None


def test_ties_go_to_the_flatter_split(toy: Any, losses: dict[Any, float]) -> None:
    losses.update({None: 0.9, 1.0: 0.5, 0.4: 0.5, 0.1: 0.5})
    assert _choose(toy, toy.table("binary")).temperature == 1.0


def test_without_any_signal_nothing_is_tried(toy: Any, losses: dict[Any, float]) -> None:
    found = _choose(toy, toy.table("binary"), signal=False)
    assert (found.temperature, found.trials) == (None, ())
    assert "rows" not in losses


def test_pilots_see_no_more_rows_than_asked(toy: Any, losses: dict[Any, float]) -> None:
    losses.update({None: 0.5, 1.0: 0.5, 0.4: 0.5, 0.1: 0.5})
    _choose(toy, toy.table("binary"), iterate__pilot_rows=50)
    assert losses["rows"] == 50


@pytest.mark.parametrize(("trials", "expected"), [(0, 7), (1, 7), (2, 8), (3, 9)])
def test_the_best_of_as_many_seeds(toy: Any, losses: dict[Any, float], trials: int, expected: int) -> None:
    losses.update({7: 0.5, 8: 0.4, 9: 0.3})
    table = toy.table("binary")
    config = toy.config(seed=7)
    plan = toy.plan(table.problem, config)
    found = choose_control(
        [plan], config, trials=trials, train_columns=table.train, validation_columns=table.validation
    )
    assert (found.plan, found.seed) == (plan, expected)
    assert found.losses == tuple([0.5, 0.4, 0.3][: trials if trials > 1 else 0])


def test_real_pilots_end_to_end(toy: Any) -> None:
    table = toy.table("binary")
    found = _choose(toy, table)
    again = _choose(toy, table)
    assert [t.temperature for t in found.trials] == [None, 1.0, 0.4, 0.1]
    assert found == again
    assert found.temperature in {None, 1.0, 0.4, 0.1}


def test_a_pilot_has_the_plans_capacity_and_a_consistent_schedule(toy: Any) -> None:
    plan = toy.plan(toy.table("binary").problem)
    plan = replace(plan, execution=replace(plan.execution, epochs=10, batch_rows=64))
    for rows in (10, 50, 5000):
        execution = pilots.shortened(plan, rows, 0.5).execution
        assert execution.batch_rows <= rows
        assert 1 <= execution.epochs <= plan.execution.epochs
        assert execution.steps == execution.epochs * -(-rows // execution.batch_rows)
    assert pilots.shortened(plan, 50, 0.5).capacity == plan.capacity


@pytest.mark.parametrize(("train_time_s", "epochs"), [(1.0, 40), (15.0, 14), (100.0, 5), (1e6, 5)])
def test_long_pilots_are_cut_to_a_share_of_the_training_together(toy: Any, train_time_s: float, epochs: int) -> None:
    """40 epochs of 10 steps, 30% asked for: short ones have 600 steps, long ones 80% of the epochs together."""
    plan = toy.plan(toy.table("binary").problem)
    execution = replace(plan.execution, epochs=40, batch_rows=100, steps=400)
    plan = replace(plan, execution=execution, predicted=replace(plan.predicted, train_time_s=train_time_s))
    found = pilots.shortened(plan, 1000, 0.3, of=6).execution.epochs
    assert found == epochs
    if train_time_s > 50:
        assert 6 * found / 40 <= 1


def test_a_steeper_split_is_not_taken_for_a_gain_within_noise(toy: Any) -> None:
    even = toy.attention(toy.problem({"x": "numeric"}))

    def chosen(first: np.ndarray, second: np.ndarray) -> int:
        trials = [trial_of(even, 0.0, None, first, None), trial_of(even, 0.0, None, second, first)]
        return flattest(trials, 1.0)

    noise = np.random.default_rng(0).normal(size=400)
    flat = np.full(400, 1.0)
    assert chosen(flat, flat + noise - noise.mean() - 0.04) == 0  # 0.8 standard errors
    assert chosen(flat, flat + noise - noise.mean() - 0.06) == 1  # 1.2 standard errors
    assert chosen(flat[:1], flat[:1] - 1) == 0  # one row tells nothing


@pytest.fixture(name="frugal_losses")
def _frugal_losses(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    """Injected: the validation loss of a pilot by (temperature, frugal)."""
    table: dict[Any, float] = {}

    def train(plan: Any, train_rows: Any, validation: Any, config: Any, *, seed: int, processes: int) -> Any:
        loss = table[plan.attention.temperature, plan.attention.frugal]
        trained = type("Trained", (), {"loss": loss, "metric": -loss})
        return type(
            "Fitted",
            (),
            {"model": None, "trained": trained, "row_losses": np.full(50, loss) + 0.01 * np.sin(np.arange(50.0))},
        )

    monkeypatch.setattr(pilots, "train", train)
    return table


def _tried(toy: Any, table: Any, silent: tuple[str, ...] = (), **envelope: Any) -> Any:
    config = toy.config(attention__temperatures=[0.4], attention__blend=False)
    values = [0.9] + [0.1] * (len(table.problem.schema.features) - 1)
    scores = toy.attention(table.problem, values, terms=table.terms, silent=silent).scores
    found = choose_temperature(
        scores, config, lambda a: toy.plan(table.problem, config, a, **envelope), table.train, table.validation
    )
    return found, [(t.temperature, t.frugal) for t in found.trials]


def test_a_frugal_split_is_tried_where_it_would_differ_and_there_alone(toy: Any, frugal_losses: Any) -> None:
    frugal_losses.update({(None, False): 0.5, (None, True): 0.3, (0.4, False): 0.5, (0.4, True): 0.3})
    plain, both = [(None, False), (0.4, False)], [(None, False), (None, True), (0.4, True)]
    assert _tried(toy, toy.table("binary"))[1] == plain
    assert _tried(toy, toy.table("binary"), silent=("x1",))[1] == both
    assert _tried(toy, toy.texts("binary", numeric=1))[1] == both
    table = toy.table("binary")
    features = tuple(replace(f, distinct=500) if f.name == "c0" else f for f in table.problem.schema.features)
    many = replace(table, problem=replace(table.problem, schema=replace(table.problem.schema, features=features)))
    assert _tried(toy, many)[1] == both


def test_temperatures_are_tried_on_the_better_structure(toy: Any, frugal_losses: Any) -> None:
    table = toy.texts("binary", numeric=1)
    frugal_losses.update({(None, False): 0.3, (None, True): 0.5, (0.4, False): 0.2})
    found, tried = _tried(toy, table)
    assert (found.temperature, found.frugal) == (0.4, False)
    assert tried == [(None, False), (None, True), (0.4, False)]
    frugal_losses.update({(None, False): 0.5, (None, True): 0.2, (0.4, True): 0.3})
    found, _ = _tried(toy, table)
    assert (found.temperature, found.frugal) == (None, True)
    assert not found.even


def test_one_text_alone_has_no_temperatures(toy: Any, frugal_losses: Any) -> None:
    frugal_losses.update({(None, False): 0.5, (None, True): 0.3})
    found, tried = _tried(toy, toy.texts("binary"))
    assert tried == [(None, False), (None, True)]
    assert found.frugal


def test_an_even_split_that_does_not_fit_leaves_the_frugal_one(toy: Any, frugal_losses: Any) -> None:
    frugal_losses.update({(None, True): 0.9, (0.4, True): 0.3})
    table = toy.texts("multiclass", numeric=2)  # a row of width 1 for each of some hundred terms
    found, tried = _tried(toy, table, parameters=len(table.terms[0].terms))
    assert tried == [(None, True), (0.4, True)]
    assert (found.temperature, found.frugal) == (0.4, True)


def test_where_neither_fits_the_refusal_is_passed_on(toy: Any, frugal_losses: Any) -> None:
    with pytest.raises(PlanInfeasible):
        _tried(toy, toy.texts("binary", numeric=2), parameters=10)


def test_the_fitted_blend_is_one_more_trial_that_rows_judge(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = toy.table("binary", numeric=6)
    config = toy.config(attention__temperatures=[])
    scores = toy.scores(table.problem, [0.9, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    shares = np.array([0.4, 0.2, 0.08, 0.08, 0.08, 0.08, 0.08])
    monkeypatch.setattr(pilots, "rescore", lambda *_, **__: (scores, shares))

    def chosen(caution: float) -> Any:
        asked = toy.config(attention__temperatures=[], attention__caution=caution)
        return choose_temperature(
            scores, asked, lambda a: toy.plan(table.problem, config, a), table.train, table.validation
        )

    never, always = chosen(1e9), chosen(0.0)
    assert [t.blended for t in never.trials] == [False, True]
    assert (never.blend, never.temperature) == (None, None)
    better = always.trials[1].loss < always.trials[0].loss
    assert (always.blend is not None) == better
    assert always.scores == scores


def test_a_blend_whose_plan_is_that_of_another_candidate_is_not_trained(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = toy.table("binary")
    config = toy.config(attention__temperatures=[])
    scores = toy.scores(table.problem, [0.9, 0.1, 0.1])
    monkeypatch.setattr(pilots, "rescore", lambda *_, **__: (scores, np.full(3, 1 / 3)))
    found = choose_temperature(
        scores, config, lambda a: toy.plan(table.problem, config, a), table.train, table.validation
    )
    assert len(found.trials) == 1


@pytest.fixture(name="by_structure")
def _by_structure(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[float | None, str], float]:
    """Injected: the validation loss of a pilot by temperature and structure."""
    table: dict[tuple[float | None, str], float] = {}

    class Fitted:
        def __init__(self, loss: float) -> None:
            self.model = None
            self.trained = type("Trained", (), {"loss": loss, "metric": -loss})
            self.row_losses = np.full(50, loss) + 0.01 * np.sin(np.arange(50.0))

    def train(plan: Any, train_rows: Any, validation: Any, config: Any, *, seed: int, processes: int) -> Fitted:
        a = plan.attention
        name = "pruned" if a.pruned else "frugal" if a.frugal else "even"
        usual = table.get((a.temperature, name), math.inf)
        return Fitted(table.get((a.temperature, f"lean {name}"), usual) if a.lean else usual)

    monkeypatch.setattr(pilots, "train", train)
    return table


def _structures(toy: Any, limit: int | None, silent: bool = False, **settings: Any) -> Any:
    table = toy.table("binary")
    config = toy.config(attention__temperatures=[0.4], attention__blend=False, training__block_width=32, **settings)
    scores = toy.scores(table.problem, [0.9, 0.1, 0.2])
    if silent:
        last = replace(scores.features[-1], carries_signal=False)
        scores = replace(scores, features=(*scores.features[:-1], last))
    return choose_temperature(
        scores, config, lambda a: toy.plan(table.problem, config, a, parameters=limit), table.train, table.validation
    )


def test_a_pruned_split_is_tried_where_the_limit_binds_and_kept_where_it_pays(
    toy: Any, by_structure: dict[tuple[float | None, str], float]
) -> None:
    by_structure.update({(None, "even"): 0.5, (None, "pruned"): 0.4, (0.4, "pruned"): 0.3})
    found = _structures(toy, 400)
    assert (found.temperature, found.frugal, found.pruned) == (0.4, True, True)
    assert [(t.temperature, t.pruned, t.lean) for t in found.trials] == [
        (None, False, False), (None, False, True), (None, True, False), (0.4, True, False), (0.4, True, True),
    ]  # fmt: skip
    assert not found.lean  # the lean one is no better


def test_a_lean_split_is_tried_where_a_limit_binds(
    toy: Any, by_structure: dict[tuple[float | None, str], float]
) -> None:
    by_structure.update({(None, "even"): 0.5, (0.4, "even"): 0.6, (None, "pruned"): 0.6, (None, "lean even"): 0.4})
    found = _structures(toy, 400)
    assert (found.temperature, found.lean, found.even) == (None, True, True)
    assert [(t.temperature, t.lean) for t in found.trials] == [(None, False), (None, True), (None, False), (0.4, True)]
    by_structure.update({(None, "lean even"): 0.5, (0.4, "even"): 0.4, (0.4, "lean even"): 0.3})
    found = _structures(toy, 400)
    assert (found.temperature, found.lean, found.frugal) == (0.4, True, False)
    assert [(t.temperature, t.lean) for t in found.trials][-2:] == [(0.4, False), (0.4, True)]
    assert not any(t.lean for t in _structures(toy, None).trials)
    given = {"training__members": 8, "training__encoder_factor": 2.0}
    assert not any(t.lean for t in _structures(toy, 400, **given).trials)


def test_without_a_limit_that_binds_nothing_is_pruned(
    toy: Any, by_structure: dict[tuple[float | None, str], float]
) -> None:
    by_structure.update({(None, "even"): 0.5, (0.4, "even"): 0.3})
    found = _structures(toy, None)
    assert (found.temperature, found.pruned) == (0.4, False)


def test_the_flatter_structure_is_kept_where_the_steeper_brings_nothing(
    toy: Any, by_structure: dict[tuple[float | None, str], float]
) -> None:
    by_structure.update({(None, "even"): 0.5, (None, "frugal"): 0.4, (None, "pruned"): 0.4, (0.4, "frugal"): 0.4})
    found = _structures(toy, 400, silent=True)
    assert (found.temperature, found.frugal, found.pruned) == (None, True, False)


def test_the_control_chooses_between_plans_before_seeds(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = toy.table("binary")
    config = toy.config(seed=7)
    usual, fewer = (toy.plan(table.problem, toy.config(seed=7, training__members=k)) for k in (2, 1))
    losses = {(2, 7): 0.5, (1, 7): 0.4, (2, 8): 0.6, (1, 8): 0.3, (2, 9): 0.1}

    def train(plan: Any, rows: Any, validation: Any, config: Any, *, seed: int, processes: int) -> Any:
        assert processes == 1
        loss = losses[plan.capacity.members, seed]
        return type("Fitted", (), {"trained": type("Trained", (), {"loss": loss})})

    monkeypatch.setattr(pilots, "train", train)
    for trials, expected in ((2, (fewer, 7)), (4, (fewer, 8)), (5, (usual, 9))):
        found = choose_control(
            [usual, fewer], config, trials=trials, train_columns=table.train, validation_columns=table.validation
        )
        assert (found.plan, found.seed) == expected
