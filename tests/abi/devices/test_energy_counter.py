"""Counters of energy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abi.devices import energy_counter
from abi.devices.energy_counter import counting


def zone(folder: Path, name: str, microjoules: int, wraps_at: int = 1000_000_000) -> Path:
    place = folder / name
    place.mkdir()
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    return place / "energy_uj"


def test_both_packages_count_and_their_parts_do_not(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", 5_000_000), zone(tmp_path, "intel-rapl:1", 999_000_000)
    part, again = zone(tmp_path, "intel-rapl:0:0", 0), zone(tmp_path, "intel-rapl-mmio:0", 0)
    with counting("cpu", folder=tmp_path) as counter:
        first.write_text("7500000")
        second.write_text("3000000")  # it began again at 1000 J: 1 J before, 3 J after
        part.write_text("9000000")
        again.write_text("9000000")
        counter.look()
        assert counter.joules == pytest.approx(2.5 + 4.0)
        first.write_text("8500000")
    assert counter.joules == pytest.approx(7.5)
    assert (counter.name, counter.missing) == ("RAPL", "")


def test_a_counter_that_stops_answering_is_not_believed(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", 1)
    with counting("cpu", folder=tmp_path) as counter:
        file.unlink()
    assert counter.joules is None
    assert counter.missing.startswith("energy, as RAPL stopped answering")


def test_a_counter_without_its_range_is_none(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", 1).parent / "max_energy_range_uj").unlink()
    with counting("cpu", folder=tmp_path) as counter:
        assert counter.joules is None
    assert "cannot be read" in counter.missing


def test_a_gpu_counts_in_millijoules(library: Any, card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_counter, "_uuid", lambda device: f"GPU-{device}".encode())
    nvml = library([card(name="NVIDIA H200", total=1, uuid="GPU-cuda:0", millijoules=[1000, 1000, 4500, 8000])])
    with counting("cuda:0", library=nvml) as counter:
        counter.look()
        assert counter.joules == pytest.approx(3.5)
    assert counter.joules == pytest.approx(7.0)
    assert counter.name == "NVML"
    assert nvml.open == 0


def test_a_gpu_without_a_counter_or_a_driver(library: Any, card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_counter, "_uuid", lambda device: b"GPU-0")
    with counting("cuda:0", library=library([card(name="Tesla K80", total=1)])) as counter:
        assert counter.joules is None
    assert counter.missing == "energy, as this GPU has no counter (Not Supported)"
    with counting("cuda:0", library=library([], fails="init")) as counter:
        assert counter.joules is None
    assert counter.missing.startswith("energy, as NVIDIA's library says")
