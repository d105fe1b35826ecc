"""What a capacity costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.families.sizes import layer_split, multiply_accumulates
from abi.planning.cost import (
    Workload,
    epoch_seconds,
    parameters,
    pictures_seconds,
    predict_cost,
    step_seconds,
    total_width,
)
from abi.planning.machine import PictureSeconds
from abi.problem import Pretrained, Sight
from abi.types import FeatureCapacity, GridCapacity

WORK = Workload(train_rows=180, validation_rows=60, numeric=2, categorical=1, outputs=1)


@pytest.fixture(scope="module", name="plan")
def _plan(toy: Any) -> Any:
    return toy.plan(toy.problem({"a": "numeric", "b": "numeric", "c": "categorical"}))


def test_layers_by_hand() -> None:
    # D = 5, K = 2, two blocks of 3, C = 1, three features, encoders of 40
    split = layer_split(40, 3, 5, 2, 2, 3, 1)
    assert split.feature_extraction == 40 + 3  # an attention offset each
    assert split.middle == 2 * 5 + (5 * 3 + 3) + (3 * 3 + 3)  # adapters, first, second layer
    assert split.output == 2 * (3 + 1)


def test_multiply_accumulates_by_hand() -> None:
    assert multiply_accumulates(5, 2, 2, 3, 1) == 2 * (5 * 3 + 3 * 3 + 3 * 1)


def test_a_step_is_a_call_the_activations_and_three_forward_passes(plan: Any, toy: Any) -> None:
    capacity, machine = plan.capacity, replace(toy.machine, call_s=1.0, activation_s=0.0, mac_s=0.0)
    assert step_seconds(capacity, 10, 1, machine) == 1.0
    units = capacity.members * capacity.blocks * capacity.block_width + total_width(capacity)
    machine = replace(machine, call_s=0.0, activation_s=2.0)
    assert step_seconds(capacity, 10, 1, machine) == 10 * 2.0 * units
    macs = multiply_accumulates(total_width(capacity), capacity.members, capacity.blocks, capacity.block_width, 1)
    machine = replace(machine, activation_s=0.0, mac_s=1.0)
    assert step_seconds(capacity, 10, 1, machine) == 3 * 10 * macs


def test_an_epoch_counts_the_last_short_step(plan: Any, toy: Any) -> None:
    machine = replace(toy.machine, call_s=1.0, activation_s=0.0, mac_s=0.0)
    assert epoch_seconds(plan.capacity, 100, WORK, machine) == 2.0
    assert epoch_seconds(plan.capacity, 180, WORK, machine) == 1.0


def _regions(plan: Any, *levels: int) -> Any:
    """The plan's capacity with a picture of so many regions beside it, at a base of 8 channels."""
    regions = tuple(
        FeatureCapacity(feature=f"r{i}", width=8 * level, bins=0, rows=0, parameters=0, reason="", grid="shot")
        for i, level in enumerate(levels)
    )
    grid = GridCapacity(column="shot", base=8, parameters=100, macs=1000, activations=400)
    return replace(plan.capacity, features=plan.capacity.features + regions, grids=(grid,))


def test_a_pictures_time_is_that_of_its_arithmetic_and_of_its_maps(plan: Any, toy: Any) -> None:
    machine = replace(toy.machine, mac_s=1.0)
    assert pictures_seconds(_regions(plan, 4, 4), machine) == 1000
    assert pictures_seconds(_regions(plan, 4, 4), replace(machine, picture_mac_s=2.0)) == 2000
    machine = replace(machine, pictures=PictureSeconds(mac=2.0, map=10.0, tile=100.0))
    assert pictures_seconds(_regions(plan, 4, 4), machine) == 2000 + 10 * 400
    assert pictures_seconds(_regions(plan, 2, 2), machine) == 2000 + 10 * 200
    assert pictures_seconds(_regions(plan, 4, 0), machine) == 2000 + 10 * 200 + 100 * 400
    assert pictures_seconds(_regions(plan, 3, 1), machine) == 2000 + 10 * 200 + 100 * 300


def test_a_second_view_is_paid_for_in_predictions_alone(plan: Any, toy: Any) -> None:
    once = _regions(plan, 4, 2)
    twice = replace(once, grids=(replace(once.grids[0], views=2),))
    machine = replace(toy.machine, pictures=PictureSeconds(mac=2.0, map=10.0, tile=100.0))
    more = pictures_seconds(once, machine)
    first, second = (predict_cost(c, plan.execution, WORK, machine) for c in (once, twice))
    assert second.latency_s - first.latency_s == pytest.approx(more, rel=1e-5)
    assert (first.macs, second.macs) == (first.macs, first.macs + once.grids[0].macs)  # type: ignore[operator]
    assert second.memory_bytes == first.memory_bytes
    spent = [epoch_seconds(c, 100, WORK, machine) for c in (once, twice)]
    assert spent[1] - spent[0] == pytest.approx(WORK.validation_rows * more)


def test_parameters_are_the_sum_of_the_layers(plan: Any, toy: Any) -> None:
    cost = predict_cost(plan.capacity, plan.execution, WORK, toy.machine)
    assert cost.parameters == parameters(plan.capacity)


@pytest.mark.parametrize(
    "change", [{"train_rows": 18_000}, {"validation_rows": 6000}, {"numeric": 200}, {"categorical": 100}]
)
def test_more_data_never_costs_less(plan: Any, toy: Any, change: dict[str, int]) -> None:
    small = predict_cost(plan.capacity, plan.execution, WORK, toy.machine)
    large = predict_cost(plan.capacity, plan.execution, replace(WORK, **change), toy.machine)
    assert large.memory_bytes > small.memory_bytes
    assert large.train_time_s >= small.train_time_s
    assert large.latency_s == small.latency_s


@pytest.mark.parametrize("change", [{"members": 64}, {"block_width": 512}, {"blocks": 8}])
def test_a_larger_backbone_costs_more_of_everything(plan: Any, toy: Any, change: dict[str, int]) -> None:
    capacity = replace(plan.capacity, **change)
    small = predict_cost(plan.capacity, plan.execution, WORK, toy.machine)
    large = predict_cost(capacity, plan.execution, WORK, toy.machine)
    assert large.train_time_s > small.train_time_s
    assert large.latency_s > small.latency_s
    assert large.memory_bytes >= small.memory_bytes


def test_half_precision_activations_take_less_memory(plan: Any, toy: Any) -> None:
    wide = replace(plan.execution, batch_rows=100_000)
    narrow = replace(wide, precision="bfloat16")
    cost = [predict_cost(plan.capacity, e, WORK, toy.machine).memory_bytes for e in (narrow, wide)]
    assert cost[0] < cost[1]


def test_an_image_encoder_is_counted_in_memory_and_latency_as_a_text_encoder_is(plan: Any, toy: Any) -> None:
    image = Pretrained(
        sha256="0" * 64, dimensions=10, pooling="mean", normalise=False, max_tokens=0, parameters=1000, matrices=0,
        sight=Sight(channels=3, height=8, width=8, macs=50_000),
    )  # fmt: skip
    text = replace(image, max_tokens=100, matrices=500, sight=None)  # as many multiply-accumulates
    plain, *costs = (
        predict_cost(plan.capacity, plan.execution, replace(WORK, pretrained=used), toy.machine)
        for used in ((), (image,), (text,))
    )
    assert costs[0] == costs[1]
    assert costs[0].parameters == plain.parameters
    assert costs[0].memory_bytes - plain.memory_bytes == 4 * (1000 + 240 * 10)  # frozen weights, vectors of 240 rows
    took_s = toy.machine.predict_call_s + 50_000 * toy.machine.mac_s
    assert costs[0].latency_s - plain.latency_s == pytest.approx(took_s, rel=1e-4)
