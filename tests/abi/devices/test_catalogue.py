from __future__ import annotations

import re
import time

import pytest
import yaml

from abi.devices.catalogue import FILE, entries, find
from abi.errors import UsageError
from abi.hardware import DeviceConfig

GPUS = [name for name, entry in entries().items() if entry.figures.kind == "gpu"]
FIGURES = ("memory", "bandwidth", "rates", "power", "idle", "reached_rate", "reached_bandwidth", "launch")
GIB = 2**30

# cores, boost clock in GHz: each core does one multiply-add a cycle (a stream processor of the MI300X two)
SHADERS = {
    "T4": (2560, 1.59),
    "V100-16GB": (5120, 1.53),
    "A10": (9216, 1.695),
    "A10G": (10240, 1.71),
    "L4": (7680, 2.04),
    "L40S": (18176, 2.52),
    "A100-80GB-SXM": (6912, 1.41),
    "H100-PCIe": (14592, 1.755),
    "H100-SXM": (16896, 1.98),
    "B200": (18944, 1.98),
    "RTX-3090": (10496, 1.695),
    "RTX-4090": (16384, 2.52),
    "RTX-5090": (21760, 2.407),
    "MI300X": (2 * 19456, 2.1),
}
# width of the memory bus in bits, data rate of a pin in Gbit/s
BUSES = {
    "T4": (256, 10),
    "V100-16GB": (4096, 1.752),
    "A10": (384, 12.5),
    "A10G": (384, 12.5),
    "L4": (192, 12.5),
    "L40S": (384, 18),
    "A100-40GB-SXM": (5120, 2.43),
    "A100-80GB-SXM": (5120, 3.186),
    "H100-SXM": (5120, 5.24),
    "RTX-3090": (384, 19.5),
    "RTX-4090": (384, 21),
    "RTX-5090": (512, 28),
    "MI300X": (8192, 5.2),
}


@pytest.mark.parametrize("name", entries())
def test_every_figure_has_its_source_and_is_plausible(name: str) -> None:
    entry, device = entries()[name], find(name)
    assert device.name == name
    named = yaml.safe_load(FILE.read_text())["sources"].values()
    for figure in FIGURES:
        assert entry.sources[figure] in named
        assert entry.sources[figure] in device.source
    ordered = [device.rates[a] for a in ("float32", "tf32", "bfloat16") if a in device.rates]
    assert ordered == sorted(ordered)
    assert 1e12 < ordered[0] < 200e12
    assert 0.2e12 <= device.bandwidth < 10e12
    assert 0 < device.reached_rate <= 1
    assert 0 < device.reached_bandwidth <= 1
    assert 1e-6 < device.launch_s < 1e-4
    assert 50 < device.power_w < 2000
    assert device.idle_w < device.power_w
    assert 0 < device.host_link <= device.bandwidth


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_says_what_links_it_and_what_the_driver_keeps(name: str) -> None:
    entry, device = entries()[name], find(name)
    assert {"link", "host_link", "context"} <= set(entry.sources)
    assert device.link >= device.host_link
    assert device.context_bytes == 512 * 2**20
    # sold with the next number of GB that is a multiple of 4 (141 for the H200): what programs get is 90% to 100% of that
    sold = {"H200": 141, "B200": 180}.get(name, 4 * -(-device.memory_bytes // (4 * GIB)))
    assert 0.9 * sold < device.memory_bytes / GIB <= sold
    gigabytes = re.search(r"(\d+)GB", name)
    assert gigabytes is None or int(gigabytes[1]) == sold


@pytest.mark.parametrize("name", SHADERS)
def test_float32_is_cores_times_clock_times_two(name: str) -> None:
    cores, gigahertz = SHADERS[name]
    assert find(name).rates["float32"] == pytest.approx(2e9 * cores * gigahertz, rel=0.04)


@pytest.mark.parametrize("name", BUSES)
def test_bandwidth_is_bus_width_times_data_rate(name: str) -> None:
    bits, gigabits = BUSES[name]
    assert find(name).bandwidth == pytest.approx(1e9 * bits / 8 * gigabits, rel=0.01)


def test_tensor_rates_are_dense() -> None:
    # A100: 108 multiprocessors x 1024 multiply-adds a cycle x 1.41 GHz; H100-SXM: 132 x 2048 x 1.83 GHz
    assert find("A100").rates["bfloat16"] == pytest.approx(2 * 108 * 1024 * 1.41e9, rel=0.01)
    assert find("H100").rates["bfloat16"] == pytest.approx(2 * 132 * 2048 * 1.83e9, rel=0.01)
    for name in GPUS:
        rates = find(name).rates
        if "tf32" in rates:
            assert rates["bfloat16"] == pytest.approx(2 * rates["tf32"], rel=0.03)


@pytest.mark.parametrize("name", ["T4", "V100-16GB", "V100-32GB"])
def test_older_cards_offer_float32_alone(name: str) -> None:
    assert set(find(name).rates) == {"float32"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("h100sxm", "H100-SXM"),
        ("H100", "H100-SXM"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB-SXM"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB-PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB-PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB-SXM"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("v100", "V100-16GB"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("rtx_5090", "RTX-5090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("xeon 8480+", "Xeon-8480+"),
    ],
)
def test_names_as_people_and_drivers_write_them(written: str, name: str) -> None:
    assert find(written).name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [("H20O", "did you mean H200"), ("RTX 4080", "RTX-4090"), ("A1000", "A100"), ("zzz", "known are 'T4'")],
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"got '{name}'.*{said}"):
        find(name)


def test_an_own_entry_starts_from_another_and_comes_first() -> None:
    own = {"Rented": {"like": "h100", "memory": "40GiB", "rates": {"bfloat16": "500TFLOPS"}, "price_per_hour": 2.5}}
    device, base = find("rented", own), find("H100-SXM")
    assert device.name == "Rented"
    assert device.memory_bytes == 40 * GIB
    assert device.rates == {**base.rates, "bfloat16": 500e12}
    assert device.bandwidth == base.bandwidth
    assert device.price_per_hour == 2.5
    assert device.source.startswith("memory, rates: settings; others: ")
    assert base.price_per_hour is None


def test_a_price_for_a_known_card_holds_for_all_its_names() -> None:
    own = {"h100": {"price_per_hour": 3}}
    device = find("NVIDIA H100 80GB HBM3", own)
    assert (device.name, device.price_per_hour, device.source) == ("H100-SXM", 3, find("H100").source)


def test_an_own_entry_says_the_same_after_its_json() -> None:
    entry = DeviceConfig.model_validate({"like": "H100", "price_per_hour": 2})
    again = DeviceConfig.model_validate(entry.model_dump(mode="json"))
    assert find("rented", {"rented": entry}) == find("rented", {"rented": again})


def test_an_own_card_that_nobody_knows() -> None:
    fields = {"memory": "48GB", "bandwidth": "768GB/s", "rates": {"float32": "38.7TFLOPS"}, "power": "300W"}
    device = find("RTX A6000", {"RTX A6000": fields})
    assert device.memory_bytes == 48 * 10**9
    assert device.rates == {"float32": 38.7e12}
    assert (device.idle_w, device.reached_rate, device.link) == (30, 0.7, 15.75e9)
    assert "typical" in device.source


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"memory": "40GiB"}, "no bandwidth and no rates and no power: .*like: H100-SXM"),
        ({"memory": 80}, r"'devices\.mine\.memory': Expected a size such as 8GiB, got 80"),
        ({"bandwidth": "300GB"}, r"'devices\.mine\.bandwidth': Expected a bandwidth such as 300GB/s, got '300GB'"),
        ({"bandwidth": 3.35}, "Expected a bandwidth such as 300GB/s, got 3.35"),
        ({"rates": {"bfloat16": 312}}, "Expected a rate such as 312TFLOPS, got 312"),
        ({"rates": {"fp8": "1PFLOPS"}}, "Expected rates of float32, tf32, bfloat16, got one of 'fp8'"),
        ({"power": "0W"}, "above zero"),
        ({"price_per_hour": -1}, "greater than or equal to 0"),
        ({"reached_rate": 1.2}, "less than or equal to 1"),
        ({"colour": "green"}, r"known setting, got 'devices\.mine\.colour'"),
        ({"like": "H20O"}, "did you mean H200"),
        ({"like": "mine"}, "got the circle mine -> mine"),
    ],
)
def test_an_own_entry_that_cannot_be_used_is_one_sentence(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        find("mine", {"mine": fields})
    assert "\n" not in str(raised.value)


def test_the_catalogue_is_read_in_a_moment() -> None:
    entries.cache_clear()
    start = time.perf_counter()
    entries()
    assert time.perf_counter() - start < 1
