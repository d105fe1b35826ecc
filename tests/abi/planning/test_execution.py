"""Own networks on devices that are only described."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from abi.devices.request import described_cluster
from abi.documents import document, read_document
from abi.errors import PlanInfeasible
from abi.planning.compare import compare
from abi.planning.execution import LARGER
from abi.planning.explain import over_devices
from abi.planning.family import plan_family
from abi.planning.figures import machine_of
from abi.planning.limits import training_seconds
from abi.planning.machine import Machine
from abi.planning.margins import CALIBRATED, FIGURES
from abi.planning.nearest import Nearest, refused
from abi.planning.on_devices import OnDevices, device_count, on_devices
from abi.types import Envelope, Plan
from tasks.plan_stories import of_change

MEBIBYTE = 2**20
OWN = {"L4": {"price_per_hour": 0.7}}


@pytest.fixture(scope="module")
def machine() -> Machine:
    return machine_of(described_cluster("L4", 2, OWN, "2xL4"), "auto", None)


@pytest.fixture(scope="module")
def make(toy: Any, machine: Machine) -> Any:
    def plan(envelope: Envelope | None = None, table: Any = None, machine: Machine = machine, **settings: Any) -> Plan:
        rows, held, given = (
            settings.pop("rows", 2000),
            settings.pop("held", 300),
            table or toy.table(numeric=4, categorical=2),
        )
        attention = toy.attention(given.problem, [0.9, *[0.3] * (len(given.problem.schema.features) - 1)], 0.3, terms=given.terms)  # fmt: skip
        asked = {"training__family": "network", "training__device": "auto", "training__epochs": None, **settings}
        return plan_family(
            attention, envelope or Envelope(), toy.config(**asked), machine, train_rows=rows, validation_rows=held
        )

    return plan


def _answer(plan: Plan) -> OnDevices:
    found = on_devices(plan)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["table", "text"])
def test_a_step_takes_the_recipes_rows_however_it_is_run(make: Any, toy: Any, kind: str) -> None:
    plan = make(table=None if kind == "table" else toy.texts(numeric=1))
    answer = _answer(plan)
    choice = answer.configuration
    assert choice.micro_batch * choice.accumulation * choice.devices == plan.execution.batch_rows == 128
    assert answer.job.global_batch == 128
    assert answer.job.steps == plan.execution.steps
    assert choice.workers == 0
    assert plan.execution.micro_batch == choice.micro_batch
    assert plan.execution.device == "cuda"
    assert choice.parallel in {"none", "ddp"}  # their weights are read beside the layers that own them
    assert "Workers: none, as all rows lie on each device." in answer.reasons


def test_of_several_devices_it_is_said_why_nothing_is_sharded_and_no_worker_loads(make: Any, machine: Machine) -> None:
    lost = {one.what: one.why for one in over_devices(make())}
    assert "is not planned for own networks" in lost["FSDP"]
    assert "all rows lie on each device" in lost["loader workers"]
    assert machine.cluster is not None
    assert over_devices(make(machine=replace(machine, cluster=replace(machine.cluster, count=1)))) == []


def test_an_objective_ranks_the_ways_to_run_it_and_is_told(make: Any) -> None:
    fast, frugal = make(training__batch_rows=512), make(training__batch_rows=512, training__objective="memory")
    assert "objective" not in fast.execution_plan
    assert frugal.execution_plan["objective"] == _answer(frugal).objective == "memory"
    assert _answer(frugal).predicted.memory_bound < _answer(fast).predicted.memory_bound
    assert _answer(frugal).predicted.rows_per_s < _answer(fast).predicted.rows_per_s
    assert any("Of the ways to run it that fit, this has the least memory." in reason for reason in frugal.reasons)
    assert frugal.execution.batch_rows == fast.execution.batch_rows == 512
    assert compare(fast, frugal).devices["objective"] == ("throughput", "memory")


def test_plans_for_other_devices_are_told_apart_by_them(make: Any) -> None:
    two, other = make(), make(machine=machine_of(described_cluster("H200", 1, OWN, "1xH200"), "auto", None))
    found = compare(two, other)
    assert found.devices["device"] == ("L4", "H200")
    assert found.devices["may_use"] == (2, 1)
    assert compare(two, two).devices == {}
    here = replace(two, execution_plan=None)
    assert compare(two, here).devices["device"] == ("L4", None)
    said = [part for part in of_change(found) if isinstance(part, str) and part.startswith("devices")]
    assert len(said) == 1
    assert "device L4 -> H200, may use 2 -> 1" in said[0]


def test_what_it_costs_is_what_the_trace_says(make: Any) -> None:
    plan = make()
    answer = _answer(plan)
    run = answer.predicted
    assert plan.predicted.memory_bytes == run.memory_bytes > answer.cluster.device.context_bytes + answer.resident_bytes
    assert plan.bound is not None
    assert plan.bound.memory_bytes == run.memory_bound > run.memory_bytes
    assert plan.predicted.train_time_s == pytest.approx(run.train_s + answer.validation_s, rel=1e-5)
    assert run.loader_s == run.host_bytes == 0
    assert run.price is not None
    assert run.price == pytest.approx(0.7 * run.train_s * answer.configuration.devices / 3600)
    assert training_seconds(plan) is None
    costly = replace(plan, envelope=Envelope(cost=2 * run.price, energy_j=3 * run.energy_j))
    assert training_seconds(costly) == pytest.approx(2 * run.train_s)


def test_the_same_question_is_answered_byte_for_byte_and_read_back(make: Any) -> None:
    one, two = make(), make()
    assert one.canonical() == two.canonical()
    back = read_document(document(one))
    assert isinstance(back, Plan)
    assert _answer(back) == _answer(one)


def test_memory_is_kept_by_what_an_allocator_needs(make: Any) -> None:
    needed = _answer(make(rows=60_000)).predicted.memory_bound
    plan = make(Envelope(memory_bytes=needed), rows=60_000)
    assert plan.bound is not None
    assert plan.bound.memory_bytes <= needed
    with pytest.raises(PlanInfeasible, match="memory="):  # what it keeps free is a part of it
        make(Envelope(memory_bytes=needed - 44 * MEBIBYTE), rows=60_000)


def test_where_the_trace_asks_for_more_it_is_planned_again(make: Any) -> None:
    usual = make(rows=60_000)
    time = usual.predicted.train_time_s
    faster = make(Envelope(train_time_s=time / 2), rows=60_000)
    assert faster.bound is not None
    assert faster.bound.train_time_s <= time / 2
    assert faster.execution.epochs < usual.execution.epochs
    assert any(r.startswith("Traced, the first network that seemed to fit asked for") for r in faster.reasons)


def test_times_from_figures_are_held_to_a_prior_that_measuring_the_device_makes_smaller(
    make: Any, machine: Machine
) -> None:
    cluster = machine.cluster
    assert cluster is not None
    measured = replace(cluster, device=replace(cluster.device, source="measured, torch 2.13.0, 2026-11-26"))
    limit = make(rows=60_000).predicted.train_time_s
    plain, known = (
        make(Envelope(train_time_s=limit), machine=m, rows=60_000)
        for m in (machine, machine_of(measured, "auto", None))
    )
    for plan, prior in ((plain, FIGURES), (known, CALIBRATED)):
        factor = prior["train_time_s"]
        assert plan.bound.train_time_s == pytest.approx(factor * plan.predicted.train_time_s, rel=1e-4)
        assert 0.9 * limit < plan.bound.train_time_s <= limit
        assert _answer(plan).predicted.train_bound_s == pytest.approx(factor * _answer(plan).predicted.train_s)
        assert plan.bound.memory_bytes == _answer(plan).predicted.memory_bound
        assert any(f"bounds of {factor:.2f}x the predicted time, " in reason for reason in plan.reasons)
        assert not any(reason.startswith("Bounds from runs") for reason in _answer(plan).reasons)
    assert known.execution.epochs > plain.execution.epochs


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5])
def test_a_limit_of_time_holds_validation_at_its_bound_too(make: Any, machine: Machine, share: float) -> None:
    """As many rows to judge by as to train on: validation takes a fifth of the time. By the rules before, its bound was not held."""
    many = {"rows": 60_000, "held": 60_000}
    limit = share * make(**many).bound.train_time_s
    plan, then = (make(Envelope(train_time_s=limit), machine=m, **many) for m in (machine, replace(machine, rules=3)))
    assert plan.bound.train_time_s <= limit < then.bound.train_time_s
    answer = _answer(plan)
    assert answer.limits.train_time_s == pytest.approx(limit - FIGURES["train_time_s"] * answer.validation_s, rel=1e-4)


def test_refusals_state_the_limits_that_were_asked_for_and_what_they_advise_fits(make: Any) -> None:
    many = {"rows": 60_000, "held": 60_000}
    with pytest.raises(PlanInfeasible, match=r"training time 3\.5 s, got none: the nearest that fit are ") as error:
        make(Envelope(train_time_s=3.5), **many)
    (advised,) = re.findall(r"train_time=([\d.]+)s \(", str(error.value))
    plan = make(Envelope(train_time_s=float(advised)), **many)
    assert plan.bound.train_time_s <= float(advised)
    near = Nearest(Envelope(train_time_s=float(advised)), plan, f"train_time={advised}s", 0.7)
    said = str(refused(error.value, [near]))
    assert said.count("earest that fit") == 1
    assert "training time 3.5 s, got none. The nearest that fit: train_time=" in said


def test_a_described_machine_recorded_without_a_prior_is_planned_by_its_rules(make: Any, machine: Machine) -> None:
    before = Machine.from_json({name: value for name, value in machine.to_json().items() if name != "margins"})
    limit = make(machine=before, rows=60_000).predicted.train_time_s
    plan = make(Envelope(train_time_s=limit), machine=before, rows=60_000)
    assert plan.bound.train_time_s == plan.predicted.train_time_s
    assert 0.95 * limit < plan.predicted.train_time_s <= limit
    assert not any("Limits are kept" in reason for reason in plan.reasons)


@pytest.fixture(scope="module")
def two() -> Machine:
    """Two devices that halve the time of a step of many rows."""
    return machine_of(described_cluster("H100-SXM", 2, {}, "2xH100-SXM"), "auto", None)


LARGE = {
    "training__batch_rows": 8192, "training__block_width": 1024, "training__blocks": 3, "training__members": 32,
}  # fmt: skip


def test_what_several_devices_make_of_a_limit_of_time_is_used(make: Any, two: Machine) -> None:
    """What divides the envelope knows one device; by the rules of before, the other one's time was left over."""
    before = replace(two, rules=None)
    limit = 0.6 * make(machine=two, rows=200_000, **LARGE).bound.train_time_s
    now, then = (make(Envelope(train_time_s=limit), machine=m, rows=200_000, **LARGE) for m in (two, before))
    assert _answer(now).configuration.devices == 2
    assert now.bound.train_time_s <= limit
    assert (now.predicted.parameters, now.execution.epochs) > (then.predicted.parameters, then.execution.epochs)
    assert now.execution.epochs >= then.execution.epochs
    assert LARGER in now.reasons
    assert LARGER not in then.reasons
    again = make(Envelope(train_time_s=limit), machine=Machine.from_json(two.to_json()), rows=200_000, **LARGE)
    assert again.canonical() == now.canonical()


def test_where_limits_keep_nothing_out_a_network_is_planned_once(make: Any, two: Machine) -> None:
    envelope = Envelope(parameters=100_000, train_time_s=36_000.0)
    now, then = (make(envelope, machine=m, rows=200_000, **LARGE) for m in (two, replace(two, rules=None)))
    assert _answer(now).configuration == _answer(then).configuration
    assert replace(now, execution_plan=None).canonical() == replace(then, execution_plan=None).canonical()


@pytest.mark.parametrize(("limit", "share"), [("energy_j", 0.5), ("cost", 0.9)])
def test_energy_and_cost_are_kept(make: Any, limit: str, share: float) -> None:
    taken = {"energy_j": "energy_j", "cost": "price"}[limit]
    most: Any = share * getattr(_answer(make()).predicted, taken)
    plan = make(Envelope(**{limit: most}))
    assert 0.7 * most < FIGURES["train_time_s"] * getattr(_answer(plan).predicted, taken) <= most
    assert getattr(plan.envelope, limit) == most


def test_nothing_fits(make: Any) -> None:
    with pytest.raises(PlanInfeasible, match=r"Expected .* On L4 energy=0.001 J is .* at its idle power of"):
        make(Envelope(energy_j=1e-3))
    with pytest.raises(PlanInfeasible, match="Expected a limit of memory above"):
        make(Envelope(memory_bytes=MEBIBYTE))


def test_devices_that_do_not_divide_a_step_stay_idle(make: Any) -> None:
    plan = make(rows=101)  # one step of 101 rows, a prime
    assert _answer(plan).cluster.count == 1
    assert any("1 of the 2 devices stay idle: a step of 101 rows" in reason for reason in plan.reasons)


@pytest.mark.parametrize(("asked", "kept"), [("float32", {"float32"}), ("bfloat16", {"bfloat16"})])
def test_a_precision_that_is_asked_for_is_taken(make: Any, asked: str, kept: set[str]) -> None:
    plan = make(training__precision=asked)
    answer = _answer(plan)
    assert answer.configuration.arithmetic == plan.execution.precision == asked
    assert {other.configuration.arithmetic for other in answer.alternatives} <= kept


def test_constants_that_were_measured_here_stay_the_prediction(make: Any, toy: Any) -> None:
    here = replace(toy.machine, cluster=described_cluster("L4", 1, OWN, "L4"))
    plan, bare = make(machine=here), make(machine=toy.machine)
    libraries = here.cluster.device.library_bytes
    assert plan.predicted == replace(bare.predicted, memory_bytes=bare.predicted.memory_bytes + libraries)
    assert plan.bound is None
    assert _answer(plan).configuration.arithmetic == toy.machine.precision
    assert bare.execution_plan is None


def test_values_from_before_have_no_new_fields(make: Any, toy: Any) -> None:
    plain = make(machine=toy.machine).to_json()
    assert "execution_plan" not in plain
    assert {"energy_j", "cost"}.isdisjoint(plain["envelope"])
    assert Plan.from_json(plain).to_json() == plain


def test_both_families_are_planned_where_both_are_asked_for(make: Any) -> None:
    plan = make(Envelope(energy_j=1e5), training__family="auto")
    assert plan.trees is not None
    assert plan.parts is not None
    assert plan.predicted.parameters == plan.parts["network"].parameters + plan.parts["trees"].parameters
    assert _answer(plan).configuration.workers == 0


def test_each_device_of_the_choice_trains_in_a_process(make: Any, toy: Any) -> None:
    plan = make(training__batch_rows=16384, training__block_width=1024, training__blocks=3, rows=200_000)
    count = _answer(plan).configuration.devices
    assert device_count(plan) == count == 2
    assert any("Training starts 2 processes, one for each device" in reason for reason in plan.reasons)
    alone = make()
    assert device_count(alone) == 1
    assert not any("processes" in reason for reason in alone.reasons)
    assert device_count(make(machine=toy.machine)) == 1


def test_images_at_half_their_size_take_less_of_the_predicted_time(make: Any, toy: Any) -> None:
    slow = {"kind": "cpu", "memory": "8GiB", "bandwidth": "1GB/s", "rates": {"float32": "1GFLOPS"}, "power": "50W"}
    described = machine_of(described_cluster("slow", 1, {"slow": slow}, "1xslow"), "float32", None)
    settings = {"table": toy.media(), "training__half_size": 0.5, "training__epochs": 8}
    now, then = (_answer(make(machine=m, **settings)) for m in (described, replace(described, rules=2)))
    plain = _answer(make(machine=described, table=toy.media(), training__epochs=8))
    # half of the steps have a quarter of the pictures' arithmetic
    assert 0.6 * then.job.steps < now.job.steps < 0.75 * then.job.steps
    assert then.job.steps == plain.job.steps
    assert now.predicted.train_s < then.predicted.train_s
