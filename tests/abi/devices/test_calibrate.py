from __future__ import annotations

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
    assert set(found.measured) == {"bandwidth", "rates", "launch_s"}
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
