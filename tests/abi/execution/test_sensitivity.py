from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from abi.execution.demands import with_limit
from abi.execution.search import search
from abi.execution.sensitivity import binding, next_step, sensitivities
from abi.execution.types import Limits
from abi.execution.what_if import changed

MIB = 2**20


def best(question: Any) -> tuple[Any, Any]:
    found = search(question)
    row = int(found.order[0])
    return found.configuration(row), found.cost(row)


@pytest.mark.parametrize("memory", range(200, 1000, 40))
def test_what_five_percent_buy_is_true_when_solved_again(made: Any, memory: int) -> None:
    question = made.question(1, Limits(memory_bytes=memory * MIB))
    sentence = sensitivities(search(question))["memory"]
    (before, old), (after, new) = best(question), best(with_limit(question, "memory", memory * MIB * 1.05))
    gained = sentence.partition(";")[0]
    if before == after:
        assert "changes nothing" in gained
    else:
        assert f"micro-batch {after.micro_batch}" in gained
        assert f"{old.step_s / new.step_s - 1:.1%} faster" in gained
    (after, new) = best(with_limit(question, "memory", memory * MIB * 0.95))
    lost = sentence.partition(";")[2]
    assert ("changes nothing" in lost) == (before == after)
    if before != after:
        assert f"{new.step_s / old.step_s - 1:.1%} slower" in lost


@pytest.mark.parametrize("memory", range(200, 600, 40))
def test_the_next_step_is_where_it_is_said_to_be(made: Any, memory: int) -> None:
    question = made.question(1, Limits(memory_bytes=memory * MIB))
    found = search(question)
    step = next_step(found, "memory")
    assert step is not None
    assert best(with_limit(question, "memory", step[0]))[0] == found.configuration(step[1])
    assert best(with_limit(question, "memory", step[0] - 1))[0] == found.configuration(int(found.order[0]))
    if text := re.search(r"until ([\d.]+[MG]iB)", sensitivities(found)["memory"]):
        assert best(changed(question, [f"memory={text[1]}"]))[0] == found.configuration(step[1])


def test_the_limit_that_binds(made: Any) -> None:
    tight = made.question(1, Limits(memory_bytes=300 * MIB, train_time_s=1e6))
    assert binding(search(tight)) == "memory"
    assert "changes nothing, nor does any more of it" in sensitivities(search(tight))["train_time"]
    assert binding(search(replace(tight, limits=Limits()))) in {None, "memory"}
    roomy = replace(tight, limits=Limits(), cluster=replace(tight.cluster, device=made.device(memory_bytes=1 << 40)))
    assert binding(search(roomy)) is None


def test_more_devices(made: Any) -> None:
    said = sensitivities(search(made.question(2, global_batch=48)))["gpus"]
    (_, old), (after, new) = (best(made.question(2).with_devices(n)) for n in (2, 3))
    assert (
        said
        == f"3 Round give 3 devices, FSDP, micro-batch {after.micro_batch}, {old.step_s / new.step_s - 1:.1%} faster."
    )
