"""Sketches of a capacity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.inputs.kind import Step
from abi.planning.allocate import Allotment
from abi.planning.backbone import Backbone
from abi.planning.cost import Workload, predict_cost
from abi.planning.grids import with_grids
from abi.planning.ladder import step, widest
from abi.planning.split import capacity_of, sketch_of
from abi.problem import Feature, Grid, Schema
from abi.types import Capacity, Execution

GRID = Grid(
    column="p", medium="image", channels=1, height=16, width=16, rows=1, cols=1, mean=(100.0,), deviation=(50.0,)
)
KINDS = ["numeric", "categorical", "boolean", "text", "region"]


@pytest.fixture(scope="module", name="execution")
def _execution(toy: Any) -> Execution:
    plan = toy.plan(toy.problem({"a": "numeric"}))
    return replace(plan.execution, micro_batch=None)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=9),
    width=st.sampled_from([1, 4, 8]),
    backbone=st.sampled_from([Backbone(2, 2, 16), Backbone(1, 4, 8), Backbone(4, 0, 0)]),
    out=st.integers(1, 5),
)
def test_a_sketch_costs_what_the_whole_does(
    toy: Any, execution: Execution, kinds: list[str], width: int, backbone: Backbone, out: int
) -> None:
    problem = toy.problem({f"x{i}": kind for i, kind in enumerate(kinds) if kind != "region"} | {"y0": "numeric"})
    regions = tuple(
        Feature(name=f"p{i}", column="p", kind="region", distinct=2, missing_share=0.0, place=i)
        for i in range(kinds.count("region"))
    )
    schema = replace(
        problem.schema,
        features=(*problem.schema.features, *regions),
        grids=(replace(GRID, cols=len(regions)),) if regions else (),
    )
    base = 8 if regions else 0
    rungs = [step(f, widest(f, width), 8, 30, base=base) for f in schema.features]
    features, steps = sketch_of(schema.features, rungs)
    whole = _capacity(schema, schema.features, rungs, backbone, out, base)
    sketch = _capacity(schema, features, steps, backbone, out, base)
    work = Workload(train_rows=180, validation_rows=60, numeric=2, categorical=1, outputs=out, terms=3.0)
    assert predict_cost(sketch, execution, work, toy.machine) == predict_cost(whole, execution, work, toy.machine)
    assert sketch.layers == whole.layers
    assert len(sketch.features) == sum(kind in {"text", "region"} for kind in kinds) + 1


def _capacity(schema: Schema, features: Any, rungs: list[Step], backbone: Backbone, out: int, base: int) -> Capacity:
    allotments = [Allotment(step=rung, next_width=None, next_parameters=None) for rung in rungs]
    plain = capacity_of(features, allotments, backbone, out, [""] * len(features), len(schema.features))
    return with_grids(plain, schema, base)
