from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible, UsageError
from abi.execution.decide import decide
from abi.execution.demands import parse_limit, parse_limits, show_limit, write_limit
from abi.execution.search import search
from abi.execution.sensitivity import sensitivities
from abi.execution.types import Limits
from abi.execution.what_if import changed, difference

GIB = 2**30


def test_another_envelope(made: Any) -> None:
    question = changed(made.question(), ["memory=16GiB,gpus=2", "train_time=10min", "global_batch=96"])
    assert question.limits == Limits(memory_bytes=16 * GIB, train_time_s=600.0)
    assert question.memory_limit == 16 * GIB  # of a device that has more than this one
    assert (question.cluster.count, question.job.global_batch) == (2, 96)


def test_a_host_grows_with_its_devices_and_does_not_shrink(made: Any) -> None:
    question = made.question(2)
    assert changed(question, ["gpus=4"]).cluster.host_cores == 16
    assert changed(question, ["gpus=4"]).host_limit == 16 * GIB
    assert changed(question, ["gpus=1"]).cluster.host_cores == 8


def test_less_memory_leaves_the_device_as_it_is(made: Any) -> None:
    question = changed(made.question(), ["memory=500MiB"])
    assert question.memory_limit == 500 * 2**20
    assert question.cluster == made.question().cluster


@pytest.mark.parametrize("device", [{"kind": "cpu"}, {"name": "H200-MIG-3g.71gb"}])
def test_more_of_what_a_process_uses_one_of_are_neither_offered_nor_taken(made: Any, device: dict[str, str]) -> None:
    question = made.question(device=device)
    assert changed(question, ["gpus=1"]) == question
    with pytest.raises(UsageError, match=r"^Expected gpus=1 of .*, got '2': a process uses one (processor|slice)"):
        changed(question, ["gpus=2"])
    assert "gpus" in sensitivities(search(made.question()))
    assert "gpus" not in sensitivities(search(question))
    with pytest.raises(PlanInfeasible, match=r"nearest that fit are") as error:
        decide(replace(question, limits=Limits(train_time_s=0.5)), module="toy", versions={})
    assert not any(near.question.cluster.count > 1 for near in error.value.nearest)


def test_the_difference_in_a_sentence(made: Any) -> None:
    one, two = (decide(changed(made.question(), [f"gpus={n},memory=1GiB"]), module="toy", versions={}) for n in (1, 2))
    said = difference(one, two)
    assert said.startswith("What if: 2 devices")
    assert f"micro-batch {two.configuration.micro_batch}" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("memroy=1GiB", "Expected a change of memory, host_memory, train_time, energy, cost, latency, gpus, global_batch, steps, got 'memroy': did you mean memory"),
        ("memory", "Expected a change as memory=…, got 'memory'"),
        ("", "Expected a change as memory=…, got ''"),
        ("memory=16", "Expected a size such as 8GiB, got '16': use one of the units"),
        ("memory=0GiB", "Expected a size above zero and finite, got '0GiB'."),
        ("memory=-1GiB", "Expected a size such as 8GiB, got '-1GiB'"),
        ("train_time=10", "Expected a time such as 10min, got '10'"),
        ("energy=3", "Expected an energy such as 2kWh, got '3'"),
        ("cost=free", "Expected a cost above zero such as 12.50, in the currency of the device's price, got 'free'."),
        ("cost=-2", "Expected a cost above zero"),
        ("gpus=0", "Expected gpus as a whole number above zero, got '0': write it as gpus=2, or leave it out."),
        ("gpus=17", "Expected gpus of at most 16 in one machine, got '17': ask for fewer."),
        ("gpus=two", "Expected gpus as a whole number above zero, got 'two': write it as gpus=2"),
        ("memory=1GiB,memory=2GiB", "Expected one value of memory, got 1GiB and 2GiB: they contradict each other, keep one."),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_read(made: Any, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        changed(made.question(), [text])
    assert str(error.value).startswith(sentence)


def test_limits_with_units() -> None:
    given = parse_limits(["memory=8GiB,latency=2ms", "energy=2kWh", "cost=12.5", "train_time=1h", "host_memory=1GB"])
    assert given == Limits(
        memory_bytes=8 * GIB,
        latency_s=2e-3,
        energy_j=7.2e6,
        cost=12.5,
        train_time_s=3600.0,
        host_memory_bytes=10**9,
    )
    assert parse_limits([]) == Limits()


@pytest.mark.parametrize(
    ("price", "shown", "written"),
    [(12.503, "12.50", "12.51"), (0.1, "0.10", "0.10"), (0.012341, "0.0123", "0.0124"), (5e-5, "5e-05", "0.0000500")],
)
def test_a_small_cost_keeps_three_digits_and_is_written_rounded_up(price: float, shown: str, written: str) -> None:
    assert show_limit("cost", price) == shown
    assert write_limit("cost", price) == written
    assert parse_limit("cost", written) >= price
