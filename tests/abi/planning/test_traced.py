"""A plan's network as shapes alone, held against the real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.execution.allocator import allocated_peaks
from abi.execution.footprint import footprint, phase_bytes
from abi.execution.step import PHASES
from abi.execution.target import Target
from abi.families.artifact import Blueprint, build
from abi.families.preparation import prepare
from abi.families.sizes import multiply_accumulates
from abi.planning.cost import total_width
from abi.planning.traced import rows_of, training_of
from abi.types import Plan

TASKS = ("binary", "multiclass", "regression")


def _plan(toy: Any, table: Any, **attention: Any) -> Plan:
    made: Plan = toy.plan(table.problem, attention=toy.attention(table.problem, terms=table.terms, **attention))
    return made


@pytest.mark.parametrize("task", TASKS)
def test_the_traced_network_has_the_plans_parameters(toy: Any, task: Any) -> None:
    plan = _plan(toy, toy.table(task, numeric=3, categorical=2))
    assert footprint(training_of(plan, 0.01), target=Target(kind="gpu")).parameters == plan.predicted.parameters


def test_so_has_one_of_texts_with_the_cells_that_training_starts_with(toy: Any) -> None:
    plan = _plan(toy, toy.texts(numeric=2), frugal=True)
    given = next(f for f in plan.capacity.features if f.entries)
    traced = footprint(training_of(plan, 0.01), target=Target(kind="gpu"))
    assert traced.method == "traced"
    assert traced.uncounted == ()
    assert traced.parameters == plan.predicted.parameters + given.start_entries - given.entries


def test_so_has_one_whose_rare_values_share_rows(toy: Any) -> None:
    problem = toy.problem({"id": "categorical", "x": "numeric"}, distinct=5000)
    plan = toy.plan(problem, attention=toy.attention(problem, [0.9, 0.2], 0.5, frugal=True))
    assert plan.capacity.features[0].shared
    assert footprint(training_of(plan, 0.01), target=Target(kind="gpu")).parameters == plan.predicted.parameters


@pytest.mark.parametrize("task", TASKS)
def test_a_row_takes_what_an_encoded_one_takes(toy: Any, task: Any) -> None:
    table = toy.table(task, numeric=3, categorical=2)
    plan = _plan(toy, table)
    preparation, fitting = prepare(table.problem.schema, plan.capacity, table.train, plan.attention)
    blueprint = Blueprint(
        family="network", schema=table.problem.schema, capacity=plan.capacity, preparation=preparation,
        prior=tuple(w.weight for w in plan.attention.weights), dropout=0.0,
    )  # fmt: skip
    cells = build(blueprint, low_precision=False).encode(table.train, fitting)
    real = sum(t.numel() * t.element_size() for t in cells.tensors()) / cells.rows
    assert rows_of(plan).row_bytes == real + (4 if task == "regression" else 8)


def test_products_are_the_backbones_multiply_accumulates(toy: Any) -> None:
    plan = _plan(toy, toy.table(numeric=4, categorical=0))
    size = plan.capacity
    traced = footprint(training_of(plan, 0.0), target=Target(kind="gpu"))
    forward, backward = (next(p for p in traced.phases if p.phase == name) for name in ("forward", "backward"))
    macs = multiply_accumulates(total_width(size), size.members, size.blocks, size.block_width, 1)
    assert forward.matrix_flops_row == 2 * macs
    assert backward.matrix_flops_row == pytest.approx(4 * macs)  # gradients of inputs and of weights


@pytest.mark.parametrize("kind", ["table", "text"])
@pytest.mark.parametrize("low_precision", [False, True])
def test_memory_is_what_the_allocator_gives_out(toy: Any, kind: str, low_precision: bool) -> None:
    table = toy.table(numeric=3, categorical=2) if kind == "table" else toy.texts(numeric=1)
    plan = _plan(toy, table, frugal=kind == "text")
    training = training_of(plan, 0.01).changed(arithmetic="bfloat16" if low_precision else "float32")
    predicted = footprint(training, rows=(2, 64))
    actual = allocated_peaks(training, 40)
    step = max(actual[phase] for phase in PHASES[:3])
    expected = max(phase_bytes(predicted, phase, 40) for phase in PHASES[:3])
    assert expected * (1 + predicted.margin) >= step
    if kind == "text":  # a processor's sum of terms keeps less than other devices do
        assert expected < 1.5 * step
    elif not low_precision:  # whose kernels take workspace as they see fit
        assert expected == pytest.approx(step, rel=0.01)


def test_two_numbers_of_rows_say_what_more_of_them_say(toy: Any) -> None:
    plan = _plan(toy, toy.table(numeric=3, categorical=2))
    few, more = (
        footprint(training_of(plan, 0.01), rows=rows, target=Target(kind="gpu"))
        for rows in ((2, 128), (2, 16, 64, 128))
    )
    for phase in PHASES:
        for rows in (1, 5, 33, 100, 256):
            assert phase_bytes(few, phase, rows) == pytest.approx(phase_bytes(more, phase, rows), rel=0.05)


def test_a_gpus_dropout_keeps_a_smaller_mask(toy: Any) -> None:
    config = toy.config(training__members=8, training__block_width=128)
    plan = toy.plan(toy.table().problem, config)
    plan = replace(plan, execution=replace(plan.execution, dropout=0.3))
    gpu, cpu = (footprint(training_of(plan, 0.01), target=Target(kind=kind)) for kind in ("gpu", "cpu"))
    assert phase_bytes(gpu, "backward", 500) < phase_bytes(cpu, "backward", 500)
