"""Where training starts, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abi.families.preparation import prepare
from abi.inputs.text import TextEncoder
from abi.problem import Task
from abi.types import Envelope


@pytest.mark.parametrize("numeric", [0, 1])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_training_leaves_a_text_that_is_one_number_as_it_was_fitted(toy: Any, task: Task, numeric: int) -> None:
    table = toy.texts(task, numeric=numeric)
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    found = toy.fitted(table, attention=attention, envelope=Envelope(parameters=4000), epochs=3)
    fitting = prepare(table.problem.schema, found.trained.plan.capacity, table.train, attention)[1]
    (encoder,) = found.model.network.texts
    assert isinstance(encoder, TextEncoder)
    assert encoder.width == 1
    np.testing.assert_array_equal(encoder.values.detach().numpy(), fitting.linear["t0"].values)
    measured, predicted = found.trained.measured, found.trained.plan.predicted
    assert measured.parameters == predicted.parameters
    assert measured.memory_bytes <= predicted.memory_bytes


def test_a_head_that_reads_one_text_starts_where_others_arrive(toy: Any) -> None:
    table = toy.texts("binary")
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    found = toy.fitted(table, attention=attention, epochs=6)
    losses = [line.validation_loss for line in found.trained.history]
    assert losses[0] < 0.1 < np.log(2)
    assert abs(losses[0] - min(losses)) < 0.02
