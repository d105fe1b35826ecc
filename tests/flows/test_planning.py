from __future__ import annotations

import json
from pathlib import Path

import pytest

from abi.devices import detect


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices and copies."""
    from abi.devices import calibrate

    monkeypatch.setattr(calibrate, "SIDES", {"cpu": (512, 128)})
    monkeypatch.setattr(calibrate, "COPIES", {"cpu": (4,)})


def test_calibrate_prints_a_table_and_keeps_what_it_found(abi, short, tmp_path):
    answer = abi("calibrate", "--device", "cpu", "--workspace", tmp_path / "ws")
    assert answer.code == 0
    name = detect.processor().device.name
    for word in ("float32, large", "float32, middle", "copy", "launch", "%", name, "measured, torch"):
        assert word in answer.out
    assert len(list((tmp_path / "ws" / "devices").iterdir())) == 1
    said = abi("doctor", "--workspace", tmp_path / "ws", "--json").json["findings"]
    assert any(f["name"] == "device" and "measured on" in f["found"] for f in said)


def test_calibrate_json_is_the_value(abi, short, tmp_path):
    answer = abi("calibrate", "--device", "cpu", "--workspace", tmp_path / "ws", "--json")
    assert Path(answer.json["file"]).is_file()
    device = answer.json["calibration"]["device"]
    assert device["name"] == detect.processor().device.name
    assert device["rates"]["float32"] > 1e8


@pytest.mark.parametrize(("device", "said"), [("cuda:99", "cuda:99"), ("tpu", "cpu or cuda:0")])
def test_a_device_that_is_not_there_is_one_sentence(abi, tmp_path, device, said):
    answer = abi("calibrate", "--device", device, "--workspace", tmp_path / "ws")
    assert answer.code == 2
    assert said in answer.sentence


def test_own_devices_are_settings(abi, tmp_path):
    path = tmp_path / "abi.yaml"
    path.write_text("devices:\n  Rented:\n    like: H100-SXM\n    memory: 40GiB\n    price_per_hour: 2.5\n")
    shown = abi("config", "show", "--config", path).json["devices"]["Rented"]
    assert (shown["like"], shown["memory"], shown["price_per_hour"]) == ("H100-SXM", 40 * 2**30, 2.5)
    path.write_text("devices:\n  Rented:\n    memory: 40\n")
    answer = abi("calibrate", "--config", path, "--workspace", tmp_path / "ws")
    assert answer.code == 2
    assert "'devices.Rented.memory': Expected a size such as 8GiB, got 40" in answer.sentence


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ("{Own: {like: B}, B: {like: Own}}", "got the circle Own -> B -> Own in the settings"),
        ("{Own: {memory: 8GiB}}", "got no bandwidth and no rates and no power"),
        ("{Own: {like: L4, idle: 700W}}", "got 700 W over 72 W: correct devices.Own"),
        ("{Own: {like: L4, memory: -8GiB}}", "'devices.Own.memory': Expected a size such as 8GiB"),
        ("{Own: {like: L4, memory: 99999TiB}}", "Expected a size of at most 256TiB"),
        ("{Own: {like: L4, host_cores: 1000000}}", "less than or equal to 4096"),
    ],
)
def test_the_doctor_names_what_is_wrong_with_own_devices(abi, tmp_path, devices, said):
    path = tmp_path / "abi.yaml"
    path.write_text(f"devices: {devices}\n")
    answer = abi("doctor", "--config", path, "--workspace", tmp_path / "ws", "--json")
    assert answer.code == 1
    found = [f["found"] for f in answer.json["findings"] if f["name"] == "settings"]
    assert any(said in text for text in found), found


def test_a_price_alone_of_what_is_found_here_is_well(abi, tmp_path):
    path = tmp_path / "abi.yaml"
    path.write_text(json.dumps({"devices": {detect.processor().device.name: {"price_per_hour": 0.1}}}))
    answer = abi("doctor", "--config", path, "--workspace", tmp_path / "ws", "--json")
    assert not [f for f in answer.json["findings"] if f["name"] == "settings"]
