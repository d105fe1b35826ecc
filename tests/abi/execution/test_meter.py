"""What a run takes while it runs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from abi.execution import meter
from abi.execution.meter import Steps, high_water, metered

MIB = 2**20


def ticking(monkeypatch: pytest.MonkeyPatch, times: list[float]) -> None:
    clock = iter(map(float, times))
    monkeypatch.setattr(meter, "perf_counter", lambda: next(clock))


def test_the_first_steps_and_what_lies_between_epochs_are_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, [0, 9, 12, 14, 15, 17, 100, 101, 104])
    steps = Steps("cpu")
    steps.begin()
    for _ in range(5):
        steps.tick()
    steps.begin()  # validation took 83 seconds
    steps.tick()
    steps.tick()
    assert steps.kept() == [1, 2, 1, 3]  # without 9, 3 and 2


def test_of_two_steps_the_second_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, [0, 9, 10])
    steps = Steps("cpu")
    steps.begin()
    steps.tick()
    steps.tick()
    assert steps.kept() == [1]
    assert Steps("cpu").kept() == []


def test_steps_of_a_gpu_are_waited_for_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []

    class Event:
        """One that a device would pass after so many milliseconds."""

        made = 0

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            Event.made += 1
            self.number = Event.made

        def record(self) -> None:
            """As torch's."""

        def synchronize(self) -> None:
            waited.append(self.number)

        def elapsed_time(self, end: Event) -> float:
            return 2.0**end.number - 2.0**self.number

    monkeypatch.setattr(meter.torch.cuda, "Event", Event)
    steps = Steps("cuda:0")
    for _ in range(2):
        steps.begin()
        for _ in range(4):
            steps.tick()
    assert waited == [5]
    # 2, 4, 8 and 16 ms, then 64, 128, 256 and 512; the first three are left out
    assert steps.kept() == pytest.approx([0.016, 0.064, 0.128, 0.256, 0.512])
    assert waited == [5, 10]


def test_median_and_95th_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    with metered("cpu") as running:
        monkeypatch.setattr(running.steps, "kept", lambda: [float(n) for n in range(1, 22)])
        taken = running.read(77)
    assert (taken.steps, taken.step_s, taken.step_p95_s) == (21, 11.0, 20.0)
    assert (taken.active_bytes, taken.reserved_bytes) == (77, None)


def test_memory_of_the_process_is_the_kernels_mark_where_it_was_lifted() -> None:
    with metered("cpu") as running:
        room = high_water() + 64 * MIB
        block = np.ones(room, dtype=np.uint8)
        taken = running.read()
    assert len(block) == room
    assert taken.process_by == "mark"
    assert taken.process_bytes is not None
    assert room <= taken.process_bytes == high_water()
    assert (taken.step_s, taken.step_p95_s) == (None, None)


def test_a_process_that_was_larger_before_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(meter, "high_water", lambda: 2**50)
    before = psutil.Process().memory_info().rss
    with metered("cpu") as running:
        block: Any = np.ones(300 * MIB, dtype=np.uint8)
        time.sleep(0.3)
        del block
        taken = running.read()
    assert taken.process_by == "samples"
    assert taken.process_bytes is not None
    assert before + 250 * MIB < taken.process_bytes < before + 600 * MIB


def test_energy_that_nothing_tells_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from abi.devices import energy_counter

    monkeypatch.setattr(meter, "counting", lambda device: energy_counter.counting(device, folder=tmp_path))
    with metered("cpu") as running:
        taken = running.read()
    assert taken.energy_j is None
    assert taken.missing == ("energy, as this machine has no counter of the processor's (RAPL)",)
