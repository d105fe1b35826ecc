from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.errors import UsageError
from abi.execution.costing import Question
from abi.execution.demands import demands, with_limit
from abi.execution.goodput import expect_objective
from abi.execution.loader import WorkerRate
from abi.execution.roofline import MODELS
from abi.execution.search import divisors, search, undominated
from abi.execution.types import Footprint, Job, Limits
from abi.execution.wording import broken
from abi.units import show_bytes

INF = math.inf


def by_hand(q: Question) -> dict[tuple[Any, ...], dict[str, float]]:
    """Every configuration with what it costs, written out once more in plain numbers."""
    device, job, found = q.cluster.device, q.job, {}
    for n, number, micro in itertools.product(
        range(1, q.cluster.count + 1), range(len(q.footprints)), range(1, job.global_batch + 1)
    ):
        if job.global_batch % (n * micro):
            continue
        for parallel in ["none"] if n == 1 else ["ddp", "fsdp"]:
            for workers in range(1, max(q.cluster.host_cores // n, 1) + 1):
                found[(n, parallel, number, micro, workers)] = one(q, q.footprints[number], n, parallel, micro, workers)
    assert found
    assert device.link > 0
    return found


def one(q: Question, f: Footprint, n: int, parallel: str, micro: int, workers: int) -> dict[str, float]:
    d, times = q.cluster.device, q.job.global_batch // (n * micro)
    phases = {p.phase: p for p in f.phases}
    rate, moved = d.rates[f.arithmetic] * d.reached_rate, d.bandwidth * d.reached_bandwidth

    def parts(name: str, rows: float = micro) -> tuple[float, float]:
        p = phases[name]
        arithmetic = (p.matrix_flops_fixed + p.matrix_flops_row * rows) / rate
        matrix = (p.matrix_bytes_fixed + p.matrix_bytes_row * rows) / moved
        other = (p.moved_bytes_fixed + p.moved_bytes_row * rows) / moved - matrix
        return max(arithmetic, matrix) + other, p.launches * d.launch_s * MODELS

    (fb, fl), (bb, bl), (ob, ol) = parts("forward"), parts("backward"), parts("optimizer")
    shard = n if parallel == "fsdp" else 1
    busy = times * (fb + bb) + ob / shard
    weights, gradients, state = f.parameter_bytes, f.gradient_bytes, f.optimizer_bytes
    wait = 0.0
    if parallel == "ddp":  # gradients are one bucket here
        wait = 2 * (n - 1) * (gradients / n / d.link + d.launch_s)
    if parallel == "fsdp":  # and the model one unit
        gather, scatter = ((n - 1) / n * size / d.link + (n - 1) * d.launch_s for size in (weights, gradients))
        wait = times * (gather + max(gather - max(bb, bl), 0) + scatter)
    working = max(busy, times * (fl + bl) + ol) + wait  # the host hands over what comes next while a GPU computes
    rows = q.job.global_batch / n
    loading = max(rows * q.rate.row_total_s(q.job.row_bytes) / workers, rows * q.job.row_bytes / d.host_link)
    step = max(working, loading)
    keep = 1 / shard
    waiting = gradients * keep if times > 1 else 0.0
    held = {"forward": 0.0, "backward": gradients, "optimizer": gradients, "evaluate": gradients}
    memory = max(
        p.fixed_bytes
        + p.row_bytes * micro
        - (1 - keep) * (weights + state + held[p.phase])
        + (waiting if p.phase in {"forward", "backward"} else 0)
        + (weights + gradients if parallel == "fsdp" and p.phase != "optimizer" else 0)
        for p in f.phases
    ) + (gradients if parallel == "ddp" else 0)
    train = q.job.steps * step
    evaluate = parts("evaluate", 1)
    return {
        "memory": math.ceil((1 + f.margin) * memory) + d.context_bytes,
        "host": n * workers * 2 * micro * q.job.row_bytes,
        "step": step,
        "train": train,
        "energy": (d.idle_w + (d.power_w - d.idle_w) * min(busy / step, 1)) * train * n,
        "price": (d.price_per_hour or 0) * train / 3600 * n,
        "latency": max(evaluate),
    }


def machinery(q: Question, choice: Any) -> tuple[int, bool, int]:
    """What has to work, of a key or of a configuration: the less the plainer."""
    if isinstance(choice, tuple):
        _, parallel, number, *_ = choice
        arithmetic, checkpointing = q.footprints[number].arithmetic, q.footprints[number].checkpointing
    else:
        parallel, arithmetic, checkpointing = choice.parallel, choice.arithmetic, choice.checkpointing
    return ["none", "ddp", "fsdp"].index(parallel), checkpointing, ["float32", "tf32", "bfloat16"].index(arithmetic)


def kept(q: Question, cost: dict[str, float]) -> bool:
    limits = q.limits
    return (
        cost["memory"] <= q.memory_limit
        and cost["host"] <= q.host_limit
        and cost["train"] <= (limits.train_time_s or INF)
        and cost["energy"] <= (limits.energy_j or INF)
        and cost["price"] <= (limits.cost or INF)
        and cost["latency"] <= (limits.latency_s or INF)
    )


@settings(max_examples=40)
@given(
    count=st.sampled_from([1, 2, 3, 4]),
    batch=st.sampled_from([12, 24, 48]),
    objective=st.sampled_from(["throughput", "energy", "cost", "memory"]),
    memory=st.sampled_from([None, 160, 200, 400, 900]),
    host=st.sampled_from([None, 10_000, 100_000]),
    train_s=st.sampled_from([None, 3.0, 10.0, 30.0]),
    energy_j=st.sampled_from([None, 500.0, 2000.0]),
    price=st.sampled_from([None, 0.005, 0.03]),
    latency_s=st.sampled_from([None, 0.004, 0.01]),
    row_bytes=st.sampled_from([1000, 2_000_000]),
)
def test_the_search_is_as_good_as_trying_everything(
    made: Any,
    count: int,
    batch: int,
    objective: Any,
    memory: int | None,
    host: int | None,
    train_s: float | None,
    energy_j: float | None,
    price: float | None,
    latency_s: float | None,
    row_bytes: int,
) -> None:
    limits = Limits(
        memory_bytes=None if memory is None else memory * 2**20,
        host_memory_bytes=None if host is None else host * 1000,
        train_time_s=train_s,
        energy_j=energy_j,
        cost=price,
        latency_s=latency_s,
    )
    question = made.question(count if batch % count == 0 else 1, limits, batch, objective=objective)
    question = replace(question, job=replace(question.job, row_bytes=row_bytes))
    possible = {key: cost for key, cost in by_hand(question).items() if kept(question, cost)}
    found = search(question)
    # without workers, which the search chooses by itself
    assert {key[:4] for key in possible} == {
        (c.devices, c.parallel, int(found.columns.footprint[row]), c.micro_batch)
        for row in found.order.tolist()
        if (c := found.configuration(row))
    }
    if possible:
        name = {"throughput": "step", "energy": "energy", "cost": "price", "memory": "memory"}[objective]
        best = int(found.order[0])
        choice, cost = found.configuration(best), found.cost(best)
        mine = possible[choice.devices, choice.parallel, int(found.columns.footprint[best]), choice.micro_batch, choice.workers]  # fmt: skip
        least = min(c[name] for c in possible.values())
        assert mine[name] <= least * 1.01 * (1 + 1e-9)
        assert machinery(question, choice) == min(
            machinery(question, key) for key, c in possible.items() if c[name] <= least * 1.01
        )
        alike = [c[name] for key, c in possible.items() if machinery(question, key) == machinery(question, choice)]
        assert mine[name] == pytest.approx(min(alike), rel=1e-9)
        assert [cost.step_s, cost.energy_j, cost.price, cost.latency_s] == pytest.approx(
            [mine["step"], mine["energy"], mine["price"], mine["latency"]]
        )
        assert cost.memory_bound == mine["memory"]
        assert cost.host_bytes == mine["host"]


def test_the_global_batch_is_exact_in_every_configuration(made: Any) -> None:
    columns = search(made.question(6, global_batch=360)).columns
    assert (columns.micro_batch * columns.accumulation * columns.devices == 360).all()
    assert set(columns.devices.tolist()) == {1, 2, 3, 4, 5, 6}


def test_a_lower_precision_has_to_be_worth_it(made: Any) -> None:
    """Where the loader decides, every arithmetic is as fast: the plain one is kept."""
    slow = made.question(rate=WorkerRate(row_s=1.0))
    assert search(slow).configuration(int(search(slow).order[0])).arithmetic == "float32"
    assert search(made.question()).configuration(int(search(made.question()).order[0])).arithmetic == "bfloat16"


def test_divisors() -> None:
    assert divisors(36) == [1, 2, 3, 4, 6, 9, 12, 18, 36]
    assert divisors(1) == [1]
    assert divisors(7) == [1, 7]


def test_what_no_other_beats_is_ordered_by_memory_too(made: Any) -> None:
    found = search(made.question())
    rows = undominated(found)
    assert rows[0] == found.order[0]
    assert (np.diff(found.columns.step_s[rows]) >= 0).all()
    assert (np.diff(found.columns.memory_bound[rows]) < 0).all()
    assert len(rows) < len(found.order)


def test_thousands_of_configurations_are_quick(made: Any) -> None:
    question = made.question(8, global_batch=40320)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = search(question)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1  # on a busy machine, 0.02 without the checks of types that tests run under
    assert len(found.columns.devices) > 3000


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"job": Job(global_batch=0, steps=1, row_bytes=1)},
            "Expected a global batch of at least 1, got 0: leave it out",
        ),
        ({"job": Job(global_batch=10**15, steps=1, row_bytes=1)}, "Expected a global batch of at most 1000000000, got"),
        (
            {"job": Job(global_batch=2, steps=-1, row_bytes=1)},
            "Expected a number of steps of at least 1, got -1: leave it out",
        ),
        ({"count": 3, "global_batch": 2}, "Expected at most one device for each row of the global batch of 2, got 3"),
        ({"count": 3, "global_batch": 256}, "Expected a global batch that 3 devices divide, got 256: take 255 or 258"),
        ({"objective": "cost", "device": {"price_per_hour": None}}, "Expected a price per hour of Round to rank by"),
        ({"limits": Limits(cost=1.0), "device": {"price_per_hour": None}}, "Expected a price per hour of Round beside"),
    ],
)
def test_a_job_that_contradicts_itself(made: Any, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        search(made.question(**changed))
    assert str(error.value).startswith(sentence)


def test_an_objective_that_is_none(made: Any) -> None:
    with pytest.raises(
        UsageError, match=r"Expected an objective of throughput, energy, cost, memory, got 'speed': name one of them\."
    ):
        expect_objective("speed", made.device())


@pytest.mark.parametrize(("price", "got"), [(None, "none"), (0.0, "0, at which all ways cost the same")])
def test_without_a_price_nothing_can_be_ranked_by_cost(made: Any, price: float | None, got: str) -> None:
    with pytest.raises(
        UsageError,
        match=rf"^Expected a price per hour of Round to rank by cost, got {got}: set devices\.Round\.price_per_hour\.$",
    ):
        search(made.question(device={"price_per_hour": price}, objective="cost"))


def test_a_processor_holds_tensors_and_batches_on_their_way_together(made: Any) -> None:
    """Where either fits alone and both do not, the configuration is out; where both do, memory is counted as before."""
    found = search(made.question(job=Job(global_batch=48, steps=100, row_bytes=4 * made.mib), device={"kind": "cpu"}))
    columns, room = found.columns, found.question.cluster.device.memory_bytes
    alone = np.maximum(columns.memory_bound, columns.evaluation_bound)
    both = alone + columns.host_bytes
    assert set(found.order.tolist()) == set(np.flatnonzero(both <= room).tolist())
    assert (demands(found.question, columns)["memory"].asked == np.where(both > room, both, alone)).all()
    row = int(np.flatnonzero((alone <= room) & (both > room))[0])
    assert broken(found, row).startswith(f"needs {show_bytes(both[row])} of device memory, the limit is")
    assert row in search(with_limit(found.question, "memory", int(both[row]))).order


def test_rows_that_lie_on_each_device_need_no_workers_and_take_its_memory(made: Any) -> None:
    usual, resident = (search(made.question(count=2, resident_bytes=b)) for b in (None, 7 * made.mib))
    assert (resident.columns.workers == 0).all()
    assert (resident.columns.loader_s == 0).all()
    assert (resident.columns.host_bytes == 0).all()
    assert (usual.columns.workers >= 1).all()
    for name in ("memory_bytes", "memory_bound"):
        more = getattr(resident.columns, name) - getattr(usual.columns, name)
        assert (more == 7 * made.mib).all()


def test_what_cannot_be_sharded_is_run_by_ddp_alone(made: Any) -> None:
    found = search(made.question(count=2, sharded=False))
    kinds = {(c.devices, c.parallel) for c in map(found.configuration, range(len(found.columns.devices)))}
    assert kinds == {(1, "none"), (2, "ddp")}
