from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.errors import PlanInfeasible
from abi.execution.decide import decide
from abi.execution.search import search
from abi.execution.types import Limits
from abi.execution.what_if import changed

MIB = 2**20


def refused(question: Any) -> PlanInfeasible:
    with pytest.raises(PlanInfeasible) as error:
        decide(question, module="toy", versions={})
    return error.value


@settings(max_examples=12)
@given(
    memory=st.sampled_from([101, 130, 150]),
    train_s=st.sampled_from([None, 0.5, 2.0]),
    latency_s=st.sampled_from([None, 1e-4]),
    price=st.sampled_from([None, 1e-4]),
)
def test_three_are_named_and_each_truly_fits(
    made: Any, memory: int, train_s: float | None, latency_s: float | None, price: float | None
) -> None:
    limits = Limits(memory_bytes=memory * MIB, train_time_s=train_s, latency_s=latency_s, cost=price)
    error = refused(made.question(1, limits))
    assert len(error.nearest) == 3
    assert len({near.text for near in error.nearest}) == 3
    assert [n.relaxed for n in error.nearest] == sorted(n.relaxed for n in error.nearest)
    for near in error.nearest:
        found = search(near.question)
        assert found.configuration(int(found.order[0])) == near.configuration
        assert near.text in str(error)


def test_a_change_can_be_copied_from_the_message(made: Any) -> None:
    question = made.question(1, Limits(memory_bytes=120 * MIB))
    error = refused(question)
    texts = re.findall(r"memory=[\d.]+MiB", str(error))
    assert texts
    for text in texts:
        assert len(search(changed(question, [text])).order)
    # the least that a configuration takes: bfloat16 with checkpointing, one row: evaluation or backward, 40 + 2 MiB
    # with a tenth of margin, gradients of 47 earlier micro-steps, and 100 of context
    assert texts[0] == "memory=157.21MiB"  # and a byte for each that is begun


def test_more_than_the_device_has_means_another_device(made: Any) -> None:
    question = made.question(1, device={"memory_bytes": 120 * MIB})
    assert "a device with 157.21MiB of memory" in str(refused(question))


def test_more_devices_are_one_of_the_ways(made: Any) -> None:
    question = made.question(1, Limits(train_time_s=10.0))
    whole = decide(replace(question, limits=Limits()), module="toy", versions={}).predicted.train_s
    limits = Limits(train_time_s=whole / 1.5)
    error = refused(replace(question, limits=limits))
    assert "2xRound (2 x" in str(error)
