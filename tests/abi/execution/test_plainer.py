from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.execution.explain import reasons
from abi.execution.plainer import chosen
from abi.execution.search import Found, enumerate_all, ranked, search
from abi.execution.sensitivity import next_step
from abi.execution.types import Limits


def with_times(made: Any, rates: dict[str, float]) -> Found:
    """One device whose arithmetics have these rates, and every step bound by arithmetic."""
    device = {"rates": rates, "bandwidth": 1e15, "launch_s": 1e-12, "memory_bytes": 1 << 40}
    return search(made.question(1, device=device))


@pytest.mark.parametrize(("gain", "arithmetic"), [(1.009, "float32"), (1.011, "bfloat16")])
def test_one_percent_is_the_least_that_a_lower_precision_has_to_gain(made: Any, gain: float, arithmetic: str) -> None:
    found = with_times(made, {"float32": 1e12, "bfloat16": gain * 1e12})
    choice = found.configuration(int(found.order[0]))
    assert choice.arithmetic == arithmetic
    assert not choice.checkpointing


def test_the_sentence_says_that_it_is_too_little(made: Any) -> None:
    found = with_times(made, {"float32": 1e12, "bfloat16": 1.009e12})
    said = next(s for s in reasons(found) if s.startswith("Precision"))
    assert said == "Precision: float32; bfloat16 would be 0.9% faster, less than a plan can tell."


def test_the_order_of_machinery(made: Any) -> None:
    """All alike: one device first, then no checkpointing, then the plainest arithmetic; then the ranking decides."""
    question = made.question(4, device={"memory_bytes": 1 << 40})
    columns = enumerate_all(question)
    same = replace(columns, step_s=np.ones_like(columns.step_s))
    order = ranked(question, same)
    found = Found(question, same, order)
    choice = found.configuration(chosen(question, same, order))
    assert (choice.parallel, choice.devices, choice.checkpointing, choice.arithmetic) == ("none", 1, False, "float32")
    several = order[same.devices[order] > 1]
    choice = found.configuration(chosen(question, same, several))
    assert (choice.parallel, choice.checkpointing, choice.arithmetic) == ("ddp", False, "float32")


def test_fewer_devices_are_not_plainer(made: Any) -> None:
    question = made.question(4, device={"memory_bytes": 1 << 40})
    columns = enumerate_all(question)
    faster = replace(columns, step_s=np.where(columns.devices == 4, 0.995, 1.0))
    order = ranked(question, faster)
    several = order[faster.devices[order] > 1]
    assert columns.devices[chosen(question, faster, several)] == 4


@pytest.mark.parametrize("memory", range(200, 700, 50))
@pytest.mark.parametrize("count", [1, 2])
def test_the_next_step_is_the_first_limit_at_which_another_is_chosen(made: Any, count: int, memory: int) -> None:
    question = made.question(count, Limits(memory_bytes=memory << 20), device={"memory_bytes": 1 << 40})
    found = search(question)
    mine = found.configuration(int(found.order[0]))
    bounds = np.unique(found.columns.memory_bound)
    wanted = None
    for bound in bounds[bounds > memory << 20]:
        wider = search(replace(question, limits=Limits(memory_bytes=int(bound))))
        if wider.configuration(int(wider.order[0])) != mine:
            wanted = float(bound)
            break
    step = next_step(found, "memory")
    assert (step and step[0]) == wanted
