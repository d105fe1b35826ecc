from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from abi.devices.catalogue import find
from abi.devices.detect import found, look
from abi.devices.nvml import NoGpu, driver, opened

GIB, MIB = 2**30, 2**20
Make = Callable[..., Any]


def h200(card: Make, **fields: Any) -> Any:
    return card(name="NVIDIA H200", total=143771 * MIB, reserved=600 * MIB, limit_w=600, **fields)


def test_two_alike_gpus_are_one_cluster(card: Make, library: Make) -> None:
    nvml = library([h200(card, uuid="GPU-a"), h200(card, uuid="GPU-b")])
    gpus, cpu = found(library=nvml)
    known = find("H200")
    assert (gpus.device.name, gpus.count) == ("H200", 2)
    assert gpus.device.memory_bytes == (143771 - 600) * MIB
    assert gpus.device.power_w == 600  # the limit that is enforced, not the maker's 700
    assert gpus.device.rates == known.rates
    assert gpus.device.source.startswith("memory, power: driver 580.65; ")
    assert cpu.device.kind == "cpu"
    assert cpu.host_memory_bytes == gpus.host_memory_bytes > 0
    assert nvml.open == 0


def test_different_gpus_are_clusters_of_their_own_the_most_capable_first(card: Make, library: Make) -> None:
    cards = [card(name="Tesla T4", total=15 * GIB), h200(card), card(name="NVIDIA L4", total=22 * GIB)]
    assert [c.device.name for c in found(library=library(cards))][:-1] == ["H200", "L4", "T4"]


def test_the_price_of_the_settings_is_on_what_is_found(card: Make, library: Make) -> None:
    gpus, cpu = found({"h200": {"price_per_hour": 4}, "cpu": {"power": "90W"}}, library([h200(card)]))
    assert gpus.device.price_per_hour == 4
    assert cpu.device.power_w == 90


def test_an_unknown_gpu_takes_its_size_from_the_driver_and_the_rest_from_the_nearest(card: Make, library: Make) -> None:
    # RTX A6000: 10752 cores at 1.8 GHz, 384 bits at 8 GHz: 38.7 TFLOPS and 768 GB/s, as NVIDIA prints them
    seen = card(
        name="NVIDIA RTX A6000", total=48 * GIB, capability=(8, 6), cores=10752, mhz=1800, bus_bits=384, memory_mhz=8001
    )
    gpus = found(library=library([seen]))[0]
    assert gpus.device.name == "RTX-A6000"
    assert gpus.device.memory_bytes == 48 * GIB
    assert gpus.device.rates["float32"] == pytest.approx(38.7e12, rel=0.001)
    assert gpus.device.bandwidth == pytest.approx(768e9, rel=0.001)
    near = find("RTX-3090")  # of compute capability 8.6 the one with the memory that is nearest to 48 GiB
    assert gpus.device.rates["bfloat16"] == pytest.approx(
        38.7e12 * near.rates["bfloat16"] / near.rates["float32"], rel=0.001
    )
    assert gpus.device.power_w == near.power_w
    assert "not in the catalogue: figures of RTX-3090" in gpus.device.source
    assert "abi calibrate" in gpus.device.source


def test_an_unknown_gpu_of_which_the_driver_says_little(card: Make, library: Make) -> None:
    gpus = found(library=library([card(name="Quadro RTX 6000", total=24 * GIB, capability=(7, 5))]))[0]
    assert gpus.device.rates == find("T4").rates
    assert gpus.device.bandwidth == find("T4").bandwidth
    assert gpus.device.memory_bytes == 24 * GIB


def test_an_unknown_gpu_that_the_settings_describe(card: Make, library: Make) -> None:
    own = {"RTX A6000": {"like": "A10", "bandwidth": "768GB/s"}}
    gpus = found(own, library([card(name="NVIDIA RTX A6000", total=48 * GIB, capability=(8, 6))]))[0]
    assert (gpus.device.name, gpus.device.bandwidth) == ("RTX A6000", 768e9)


def test_mig_slices_have_their_share(card: Make, library: Make) -> None:
    part = card(name="NVIDIA H200 MIG 1g.18gb", total=int(17.5 * GIB), compute_slices=1)
    large = card(name="NVIDIA H200 MIG 3g.71gb", total=int(70.5 * GIB), compute_slices=3)
    whole = card(name="NVIDIA H200", total=140 * GIB, mig=True, slices=[part, part, large])
    seen = look(library=library([whole]))
    first, second = seen.clusters[:-1]
    known = find("H200")
    assert (first.device.name, first.count) == ("H200-MIG-3g.71gb", 1)
    assert (second.device.name, second.count) == ("H200-MIG-1g.18gb", 1)  # of two; a process can use one
    assert second.device.memory_bytes == int(17.5 * GIB)
    assert second.device.bandwidth == pytest.approx(known.bandwidth / 8)  # 17.5 of 140 GiB
    assert second.device.rates["bfloat16"] == pytest.approx(known.rates["bfloat16"] / 7)
    assert "a process uses one slice" in seen.notes[0]


def test_mig_without_a_slice_is_no_device(card: Make, library: Make) -> None:
    seen = look(library=library([card(name="NVIDIA H200", total=140 * GIB, mig=True)]))
    assert [c.device.kind for c in seen.clusters] == ["cpu"]
    assert "MIG on and no slice" in seen.notes[0]


@pytest.mark.parametrize("call", ["init", "count"])
def test_a_driver_that_fails_is_no_gpu_with_the_reason(card: Make, library: Make, call: str) -> None:
    nvml = library([h200(card)], fails=call)
    seen = look(library=nvml)
    assert [c.device.kind for c in seen.clusters] == ["cpu"]
    assert seen.notes == ("no GPU found: NVIDIA's library says: Driver/library version mismatch",)
    assert nvml.open == 0


def test_a_lost_card_does_not_hide_the_others(card: Make, library: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml, lost = library([h200(card), card(name="", total=0)]), "GPU is lost"

    def name(seen: Any) -> str:
        if not seen.name:
            raise nvml.NVMLError(lost)
        return str(seen.name)

    monkeypatch.setattr(nvml, "nvmlDeviceGetName", name)
    seen = look(library=nvml)
    assert [(c.device.name, c.count) for c in seen.clusters[:-1]] == [("H200", 1)]
    assert seen.notes == ("a GPU is left out, as NVIDIA's library says: GPU is lost",)


def test_an_older_driver_gives_the_whole_memory(card: Make, library: Make) -> None:
    assert found(library=library([h200(card)], fails="memory_v2"))[0].device.memory_bytes == 143771 * MIB


def test_no_card_and_no_library(library: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lists none" in look(library=library([])).notes[0]
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert look().notes == ("no GPU found: nvidia-ml-py is not installed",)
    assert driver() is None
    with pytest.raises(NoGpu, match="not installed"), opened():
        pass


@pytest.mark.parametrize(
    ("setting", "count"), [("", 0), ("0", 1), ("1,0", 2), ("-1", 0), ("0,7,1", 1), ("GPU-b", 1), ("GPU-", 1)]
)
def test_gpus_that_are_hidden_from_programs_are_not_counted(
    card: Make, library: Make, setting: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    seen = look(library=library([h200(card, uuid="GPU-a"), h200(card, uuid="GPU-b")]))
    assert sum(c.count for c in seen.clusters[:-1]) == count
    assert any("CUDA_VISIBLE_DEVICES" in note for note in seen.notes) == (count < 2)


def test_one_mig_slice_is_left_to_programs(card: Make, library: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [card(name="", total=size * GIB, compute_slices=n, uuid=f"MIG-{n}") for n, size in ((1, 17), (3, 70))]
    whole = card(name="NVIDIA H200", total=140 * GIB, mig=True, slices=parts, uuid="GPU-b")
    nvml = library([h200(card, uuid="GPU-a"), whole])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-3")
    assert [c.device.name for c in found(library=nvml)[:-1]] == ["H200-MIG-3g.70gb"]


def test_without_the_library_torch_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [
        SimpleNamespace(name="AMD Instinct MI300X", total_memory=191 * GIB, major=9, minor=4),
        SimpleNamespace(name="NVIDIA RTX A6000", total_memory=47 * GIB, major=8, minor=6),
    ]
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr("abi.devices.detect.DRIVERS", (tmp_path,))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", seen.__getitem__)
    first, second = found()[:-1]
    assert (first.device.name, first.device.memory_bytes) == ("MI300X", 191 * GIB)
    assert first.device.source.startswith("memory: torch ")
    assert (second.device.name, second.device.rates) == ("RTX-A6000", find("RTX-3090").rates)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert look().notes == ("no GPU found: nvidia-ml-py is not installed",)


def test_through_the_library_that_is_installed() -> None:
    """On a machine without a GPU the reason is NVIDIA's own; on one with a GPU it is found."""
    seen = look()
    assert seen.clusters[-1].device.kind == "cpu"
    assert len(seen.clusters) > 1 or seen.notes[0].startswith("no GPU found: ")
