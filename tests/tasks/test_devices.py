from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from abi.config import load_config
from abi.devices import detect, nvml
from abi.devices.calibration import Calibration
from abi.devices.catalogue import find
from abi.devices.device import Device
from abi.errors import UsageError, WorkspaceError
from tasks import devices
from tasks.devices import cluster, findings, kept, measure, place, torch_version
from tasks.workspace import Workspace


@pytest.fixture(autouse=True)
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(detect, "DRIVERS", ())


def calibration(device: Device, **fields: str) -> Calibration:
    """As if it had been measured, at half of every rate."""
    half = replace(device, rates={name: rate / 2 for name, rate in device.rates.items()}, source="measured")
    given = {"torch": torch_version().partition("+")[0], "driver": "", "date": "2026-11-26"} | fields
    return Calibration(
        device=half, expected=device, middle_rates={}, copies={}, measured=("rates",), seconds=1.0, **given
    )


def keep(ws: Workspace, found: Calibration, torch: str | None = None) -> None:
    ws.write(place(ws, found.device.name, torch or found.torch), json.dumps(found.to_json()).encode())


def test_a_measured_device_goes_before_the_catalogue(ws: Workspace) -> None:
    config, known = load_config(settings={"devices.L4.price_per_hour": 0.8}), find("L4")
    before = cluster(ws, config, "2xL4")
    assert before.device.rates == known.rates
    keep(ws, calibration(known))
    after = cluster(ws, config, "2xL4")
    assert after.device.rates["bfloat16"] == known.rates["bfloat16"] / 2
    assert after.device.price_per_hour == 0.8
    assert (after.count, after.host_cores) == (2, before.host_cores)
    assert cluster(ws, config, "1xT4").device == find("T4")


def test_the_settings_go_before_what_was_measured(ws: Workspace) -> None:
    keep(ws, calibration(find("L4")))
    config = load_config(settings={"devices.L4.rates": {"bfloat16": "100TFLOPS"}})
    rates = cluster(ws, config, "L4").device.rates
    assert rates == {"bfloat16": 100e12, "float32": 30.3e12 / 2, "tf32": 30e12}


def test_peaks_of_the_settings_are_reached_as_far_as_was_expected_of_a_measured_card(ws: Workspace) -> None:
    known = find("L4")
    measured = calibration(replace(known, reached_rate=1.0, reached_bandwidth=1.0))
    keep(ws, replace(measured, expected=known))
    plain = {"like": "L4", "rates": {"bfloat16": "100TFLOPS"}, "bandwidth": "1TB/s"}
    peak, said = (
        cluster(ws, load_config(settings={"devices": {"ours": entry}}), "ours").device
        for entry in (plain, {**plain, "reached_rate": 0.8, "reached_bandwidth": 0.6})
    )
    # seven tenths are typical of GPUs
    assert peak.rates == pytest.approx({"bfloat16": 70e12, "float32": 30.3e12 / 2, "tf32": 30e12})
    assert peak.bandwidth == pytest.approx(0.9e12)
    assert (said.rates["bfloat16"], said.reached_rate) == (100e12, 0.8)
    assert (said.bandwidth, said.reached_bandwidth) == (1e12, 0.6)


def test_an_own_entry_takes_what_was_measured_of_the_card_that_it_is_like(ws: Workspace) -> None:
    keep(ws, calibration(find("L4")))
    own = {"ours": {"like": "near", "rates": {"tf32": "50TFLOPS"}}, "near": {"like": "L4", "price_per_hour": 0.8}}
    device = cluster(ws, load_config(settings={"devices": own}), "2xours").device
    assert device.name == "ours"
    assert device.rates == {"bfloat16": 121e12 / 2, "float32": 30.3e12 / 2, "tf32": 50e12}
    assert device.price_per_hour == 0.8
    assert device.source == "of L4: measured"


def test_what_was_measured_under_other_versions_is_not_taken(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    known = find("L4")
    keep(ws, calibration(known, torch="1.0.0"), torch=torch_version())
    assert kept(ws, "L4") is None
    keep(ws, calibration(known, driver="550.1"))
    assert kept(ws, "L4") is not None  # no driver here to compare with
    monkeypatch.setattr(nvml, "driver", lambda: "580.65")
    assert kept(ws, "L4") is None
    monkeypatch.setattr(nvml, "driver", lambda: "550.1")
    assert kept(ws, "L4") is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"device": 3}'])
def test_a_damaged_measurement_is_named(ws: Workspace, content: bytes) -> None:
    ws.write(place(ws, "L4", torch_version()), content)
    with pytest.raises(WorkspaceError, match=r"device-L4-.*: delete the file and run `abi calibrate` again"):
        cluster(ws, load_config(), "L4")


def test_the_file_is_named_by_device_and_torch(ws: Workspace) -> None:
    assert place(ws, "RTX A6000/x", "2.13.0+cpu") == ws.root / "devices" / "device-RTX-A6000-x-2.13.0.json"


@pytest.mark.parametrize("asked", ["tpu", "cuda:x", "cuda:-1", "gpu", ""])
def test_a_device_that_torch_does_not_know(ws: Workspace, asked: str) -> None:
    with pytest.raises(UsageError, match="Expected --device as cpu or cuda:0"):
        measure(ws, asked, {})


def test_a_gpu_that_is_not_there(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="got cuda:99 where there is"):
        measure(ws, "cuda:99", {})


def test_doctor_says_what_is_found_and_whether_it_was_measured(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = detect.processor()
    said = {finding["found"] for finding in findings(ws)}
    assert any(text.startswith(f"1 x {cpu.device.name}, ") and "not calibrated" in text for text in said)
    keep(ws, calibration(cpu.device))
    assert any(text.endswith("measured on 2026-11-26") for text in (f["found"] for f in findings(ws)))
    assert any(f["name"] == "devices" or " x " in f["found"] for f in findings(None))


def test_doctor_names_a_torch_that_cannot_use_the_gpu(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = replace(detect.processor(), device=find("H200"), count=2)
    monkeypatch.setattr(devices.detect, "look", lambda: detect.Look((gpus, detect.processor()), ()))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    first = findings(ws)[0]
    assert not first["ok"]
    assert first["found"].startswith("2 x H200, 140 GiB, ")
    assert "install a torch with CUDA" in first["remedy"]
