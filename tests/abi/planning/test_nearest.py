"""Envelopes that nothing fits into: the nearest that something does, and the envelope of a what-if."""

from __future__ import annotations

import re
from typing import Any

import pytest

from abi.errors import PlanInfeasible, UsageError
from abi.planning.nearest import Nearest, nearest, refused, write
from abi.planning.planner import Planner
from abi.planning.what_if import PARSE, changed
from abi.types import Attention, Envelope

KINDS = {"a": "numeric", "b": "numeric", "c": "categorical", "d": "boolean"}
DISTINCT = {"a": 900, "b": 900, "c": 40, "d": 2}


def _attention(toy: Any, **split: Any) -> Attention:
    return toy.attention(toy.problem(KINDS, distinct=DISTINCT), [0.9, 0.5, 0.3, 0.1], 0.3, **split)


def _planner(toy: Any, family: str) -> Planner:
    return Planner(toy.machine, 2000, 300, toy.config(training__members=8, training__block_width=64, training__family=family))  # fmt: skip


def _found(toy: Any, family: str, envelope: Envelope, **split: Any) -> tuple[PlanInfeasible, tuple[Nearest, ...]]:
    planner, attention = _planner(toy, family), _attention(toy, **split)
    with pytest.raises(PlanInfeasible) as error:
        planner.divide(attention, envelope=envelope)
    return error.value, nearest(planner, attention, None, envelope)


ENVELOPES = {
    "parameters": Envelope(parameters=2),
    "memory": Envelope(memory_bytes=2**14),
    "latency": Envelope(latency_s=1e-6),
    "time": Envelope(train_time_s=1e-6),
    "two": Envelope(parameters=2, latency_s=1e-6, memory_bytes=2**34),
}


@pytest.mark.parametrize("family", ["network", "trees", "auto", "blend"])
@pytest.mark.parametrize("limits", list(ENVELOPES))
def test_three_are_named_each_is_feasible_as_it_is_written_and_the_least_relaxed_comes_first(
    toy: Any, family: str, limits: str
) -> None:
    envelope = ENVELOPES[limits]
    error, near = _found(toy, family, envelope)
    assert 1 <= len(near) <= 3
    if limits in {"parameters", "latency"}:
        assert len(near) == 3
    assert [n.relaxed for n in near] == sorted(n.relaxed for n in near)
    assert all(n.relaxed > 0 for n in near)
    planner, attention = _planner(toy, family), _attention(toy)
    message = str(refused(error, near))
    for n in near:
        written = changed(envelope, [n.text.replace(" and ", ",")]).envelope
        assert written == n.envelope
        assert planner.divide(attention, envelope=written).canonical() == n.plan.canonical()
        assert f"{n.text} (" in message
    assert message.startswith("Expected an envelope that the smallest ")
    assert message.count(". ") == 1  # one sentence, then the list
    assert "The smallest that would do" not in message


def test_a_network_s_nearest_is_the_least_of_all_even_splits(toy: Any) -> None:
    _, near = _found(toy, "network", Envelope(parameters=2))
    planner, attention = _planner(toy, "network"), _attention(toy)
    least = near[0].envelope.parameters
    assert least is not None
    with pytest.raises(PlanInfeasible):
        planner.divide(attention, envelope=Envelope(parameters=int(least * 0.98) - 1))


def test_only_the_limits_that_have_to_give_are_named(toy: Any) -> None:
    _, near = _found(toy, "network", ENVELOPES["two"])
    assert {tuple(re.findall(r"(\w+)=", n.text)) for n in near} == {("parameters", "latency")}


def test_a_split_that_leaves_features_out_may_need_less_than_any_even_one(toy: Any) -> None:
    _, even = _found(toy, "network", Envelope(parameters=40))
    _, frugal = _found(toy, "network", Envelope(parameters=40), frugal=True, silent=("b", "c", "d"))
    assert frugal[0].relaxed <= even[0].relaxed


def test_a_feasible_envelope_has_none(toy: Any) -> None:
    assert nearest(_planner(toy, "network"), _attention(toy), None, Envelope()) == ()


def test_it_is_the_same_every_time(toy: Any) -> None:
    first, second = (_found(toy, "auto", Envelope(memory_bytes=2**14))[1] for _ in range(2))
    assert [(n.text, n.plan.id) for n in first] == [(n.text, n.plan.id) for n in second]


@pytest.mark.parametrize("value", [1, 999, 1000, 1234, 70_836, 12_345_678])
def test_what_is_written_is_at_least_what_is_needed_and_hardly_more(value: int) -> None:
    assert value <= PARSE["parameters"](write("parameters", value)) <= value * 1.011 + 1


def test_what_if_lays_limits_over_an_envelope() -> None:
    envelope = Envelope(parameters=10, memory_bytes=5)
    assert changed(envelope, ["memory=16GiB,parameters=100k", "latency=2ms"]).envelope == Envelope(
        parameters=100_000, memory_bytes=16 * 2**30, latency_s=0.002
    )
    other = changed(envelope, ["gpus=4,energy=1kWh", "cost=2.5"])
    assert (other.gpus, other.envelope.energy_j, other.envelope.cost) == (4, 3.6e6, 2.5)
    assert changed(envelope, ["memory=1GiB"]).gpus is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters=0", "Expected a count above zero"),
        ("parameters=-3", "Expected a count such as 200k"),
        ("memory=16", "use one of the units"),
        ("memory=0GiB", "above zero"),
        ("memory", "Expected a change as parameters=…"),
        ("memroy=1GiB", "did you mean memory or energy?"),
        ("memory=1GiB,memory=2GiB", "they contradict each other"),
        ("steps=2", "where attention is planned for, got 'steps=2': leave it out"),
        ("cost=-1", "Expected a cost above zero"),
    ],
)
def test_what_no_envelope_is(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        changed(Envelope(), [text])
