"""The recipe that a plan starts from, and the lean one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.attention.fit import fit, move
from abi.errors import PlanInfeasible
from abi.planning.backbone import FEW_MEMBERS
from abi.planning.even import even_plans
from abi.planning.starting import LEAN_FACTOR, lean_differs, starting_recipe
from abi.training.choice import trial_of
from abi.training.revise import own_plan, tried_lean
from abi.types import Attention, Plan

ROWS = 180
TIGHT = 400


def _config(toy: Any, **settings: Any) -> Any:
    return toy.config(training__members=None, envelope__parameters=TIGHT, **settings)


def _even(toy: Any, *, lean: bool = False) -> Any:
    return replace(toy.attention(toy.table("binary").problem), lean=lean)


def _recipes(toy: Any, problem: Any, config: Any) -> list[Any]:
    return [starting_recipe(problem.schema, ROWS, config.training, lean=lean) for lean in (False, True)]


def _plans(toy: Any, config: Any, *, lean: bool) -> list[Any]:
    def divide(even: Any, limits: Any, asked: Any) -> Any:
        return toy.plan(even.scores.problem, asked, even, **limits.to_json())

    return even_plans(divide, _even(toy), config, lean=lean)


def test_a_lean_recipe_has_few_members_and_faster_encoders(toy: Any) -> None:
    usual, lean = _recipes(toy, toy.table("binary").problem, _config(toy))
    assert (usual.members, lean.members) == (16, FEW_MEMBERS)
    assert (usual.encoder_factor, lean.encoder_factor) == (4.0, LEAN_FACTOR)
    assert replace(lean, members=usual.members, encoder_factor=usual.encoder_factor) == usual


def test_what_settings_give_stays(toy: Any) -> None:
    usual, lean = _recipes(toy, toy.table("binary").problem, toy.config(training__encoder_factor=1.5))
    assert usual == lean


@pytest.mark.parametrize("kind", ["texts", "media"])
def test_without_a_backbone_or_with_pictures_nothing_is_lean(toy: Any, kind: str) -> None:
    usual, lean = _recipes(toy, getattr(toy, kind)("binary").problem, _config(toy))
    assert usual == lean


def test_a_lean_split_differs_where_a_limit_binds(toy: Any) -> None:
    config, even = _config(toy), _even(toy)
    bound, free = (toy.plan(even.scores.problem, config, even, parameters=limit) for limit in (TIGHT, None))
    assert lean_differs(bound, ROWS, config.training)
    assert not lean_differs(free, ROWS, config.training)


def test_a_lean_plan_says_so_and_another_keeps_its_bytes(toy: Any) -> None:
    usual, lean = _plans(toy, _config(toy), lean=True)
    assert (usual.execution.encoder_factor, lean.execution.encoder_factor) == (4.0, LEAN_FACTOR)
    assert lean.capacity.members <= FEW_MEMBERS
    assert lean.predicted.parameters <= TIGHT
    assert [r for r in lean.reasons if r.startswith("It is lean: ")]
    assert not [r for r in usual.reasons if r.startswith("It is lean: ")]
    assert '"lean"' not in usual.canonical().decode()
    assert Plan.from_json(lean.to_json()) == lean


def test_a_lean_split_stays_lean_when_it_moves(toy: Any) -> None:
    config, even = toy.config().attention, _even(toy, lean=True)
    moved = move(even, even.scores, np.full(3, 1 / 3), config)
    assert Attention.from_json(moved.to_json()).lean
    assert not fit(even.scores, None, config).lean


def test_the_control_is_lean_where_attention_tried_it(toy: Any) -> None:
    usual, lean = _plans(toy, _config(toy), lean=True)
    assert (usual.attention.lean, lean.attention.lean) == (False, True)
    same, few = _plans(toy, toy.config(training__members=8, envelope__parameters=TIGHT), lean=False)
    assert few.capacity.members <= FEW_MEMBERS
    assert few.execution.encoder_factor == same.execution.encoder_factor


def test_where_the_lean_even_split_alone_fits_the_control_has_no_more_than_the_envelope(toy: Any) -> None:
    config, even = toy.config(training__members=None), _even(toy)
    least = min(limit for limit in range(20, 400) if _fits(toy, _even(toy, lean=True), config, limit))
    assert not _fits(toy, even, config, least)
    (only,) = _plans(toy, toy.config(training__members=None, envelope__parameters=least), lean=True)
    assert only.attention.lean
    assert only.predicted.parameters <= least


def _fits(toy: Any, attention: Any, config: Any, limit: int) -> bool:
    try:
        toy.plan(attention.scores.problem, config, attention, parameters=limit)
    except PlanInfeasible:
        return False
    return True


def test_a_model_of_the_lean_even_split_is_its_own_control(toy: Any) -> None:
    config = _config(toy)
    plans = _plans(toy, config, lean=True)
    table = toy.table("binary")
    fitted = toy.fitted(table, config, config.seed, attention=_even(toy, lean=True), envelope=config.envelope.limits())
    assert own_plan(fitted.trained, plans, config.seed) == plans[1]
    assert own_plan(fitted.trained, plans[:1], config.seed) is None
    assert own_plan(fitted.trained, plans, config.seed + 1) is None


def test_trials_tell_whether_a_lean_split_was_tried(toy: Any) -> None:
    even = _even(toy)
    usual, lean = (trial_of(one, 0.5, None, np.ones(3), None) for one in (even, _even(toy, lean=True)))
    assert not tried_lean(replace(even, trials=(usual,)))
    assert tried_lean(replace(even, trials=(usual, lean)))
