from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from abi.devices import calibrate as module
from abi.devices import detect
from abi.devices.calibrate import calibrate
from abi.devices.calibration import Calibration


@pytest.fixture(scope="module")
def measured() -> tuple[Calibration, dict[str, object], dict[str, object]]:
    """A calibration of this processor, with torch's state before and after."""
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "SIDES", {"cpu": (1024, 256)})
    patch.setattr(module, "COPIES", {"cpu": (16, 64)})
    torch.set_float32_matmul_precision("high")
    try:
        before = state()
        found = calibrate("cpu", detect.processor().device)
        after = state()
    finally:
        torch.set_float32_matmul_precision("highest")
        patch.undo()
    return found, before, after


def state() -> dict[str, object]:
    return {
        "precision": torch.get_float32_matmul_precision(),
        "random": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
    }


def test_figures_of_this_processor_are_of_a_plausible_order(
    measured: tuple[Calibration, dict[str, object], dict[str, object]],
) -> None:
    found = measured[0]
    device, before = found.device, found.expected
    assert device.rates.keys() == before.rates.keys() == found.middle_rates.keys()
    for rate in (*device.rates.values(), *found.middle_rates.values()):
        assert 1e9 < rate < 1e15
    assert device.rates["float32"] < 2 * before.rates["float32"]
    assert 5e8 < device.bandwidth < 2e12
    assert device.bandwidth == max(found.copies.values())
    assert set(found.copies) == {str(16 * 2**20), str(64 * 2**20)}
    assert 1e-7 < device.launch_s < 1e-3
    assert (device.reached_rate, device.reached_bandwidth, device.context_bytes) == (1, 1, 0)
    assert device.source.startswith(f"measured, torch {found.torch}, ")
    assert set(found.measured) == {"bandwidth", "rates", "launch_s", "step_s"}
    assert (device.name, device.memory_bytes, device.power_w) == (before.name, before.memory_bytes, before.power_w)
    assert found.seconds < 60


def test_torch_is_left_as_it_was(measured: tuple[Calibration, dict[str, object], dict[str, object]]) -> None:
    assert measured[1] == measured[2]
    assert measured[1]["precision"] == "high"


def test_a_calibration_is_read_back_and_knows_when_it_holds(
    measured: tuple[Calibration, dict[str, object], dict[str, object]],
) -> None:
    found = measured[0]
    assert Calibration.from_json(found.to_json()) == found
    name = found.device.name
    assert found.holds(name, torch.__version__, None)
    assert not found.holds(name, "1.0.0", None)
    assert not found.holds("H200", torch.__version__, None)


def test_the_state_is_put_back_when_measuring_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        torch.set_float32_matmul_precision("medium")
        raise RuntimeError

    monkeypatch.setattr(module, "COPIES", {"cpu": (1,)})
    monkeypatch.setattr(module, "_rate", fail)
    before = state()
    with pytest.raises(RuntimeError):
        calibrate("cpu", detect.processor().device)
    assert state() == before


class Watched:
    """A GPU on which this process takes 600 MiB and draws 80 W; `lists` is whether processes are told apart."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, lists: bool) -> None:
        self.lists = lists

    def nvmlDeviceGetPowerUsage(self, handle: object) -> int:
        return 80_000

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> SimpleNamespace:
        return SimpleNamespace(used=1000 * 2**20)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[SimpleNamespace]:
        if not self.lists:
            raise self.NVMLError
        return [
            SimpleNamespace(pid=1, usedGpuMemory=9 * 2**30),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=600 * 2**20),
        ]


@pytest.mark.parametrize(
    ("lists", "before", "context"),
    [(True, 0, 500), (False, 300, 600), (False, 990, None)],
)
def test_context_is_what_the_process_takes_beyond_the_allocator(
    lists: bool, before: int, context: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda: 100 * 2**20)
    meter = module._Meter(Watched(lists=lists), object(), "580.65", before * 2**20)
    assert meter.context() == (context and context * 2**20)
    assert meter.power() == 80
    assert module._Meter().context() is None
    assert module._Meter().power() is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_figures_of_a_gpu_are_within_what_its_maker_prints() -> None:
    expected = detect.found()[0].device
    found = calibrate("cuda:0", expected)
    for name, rate in found.device.rates.items():
        assert 0.2 < rate / expected.rates[name] < 1.1
    assert 0.5 < found.device.bandwidth / expected.bandwidth < 1.1
    assert 1e-6 < found.device.launch_s < 5e-5
    assert 2**27 < found.device.context_bytes < 2**31
    assert found.device.idle_w < found.device.power_w <= 1.1 * expected.power_w
