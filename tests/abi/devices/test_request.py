from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from abi.devices import detect
from abi.devices.catalogue import find
from abi.devices.device import Cluster
from abi.devices.request import expect_here, parse
from abi.errors import UsageError


@pytest.fixture(autouse=True)
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(detect, "DRIVERS", ())


def machine(name: str, count: int) -> Cluster:
    return Cluster(device=find(name), count=count, host_memory_bytes=2**38, host_cores=64)


@pytest.mark.parametrize(
    ("text", "count", "name"),
    [
        ("2xH200", 2, "H200"),
        ("H200", 1, "H200"),
        (" 8 X h100 ", 8, "H100-SXM"),
        ("16xT4", 16, "T4"),
        ("4×L4", 4, "L4"),
        ("2x4090", 2, "RTX-4090"),
        ("4090", 1, "RTX-4090"),
        ("1xXeon-8480+", 1, "Xeon-8480+"),
    ],
)
def test_counts_and_names(text: str, count: int, name: str) -> None:
    cluster = parse(text)
    assert (cluster.count, cluster.device) == (count, find(name))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0xH200", "from 1 to 16 in one machine, got '0xH200'"),
        ("-1xH200", "from 1 to 16"),
        ("17xH200", "from 1 to 16"),
        ("1.5xH200", "whole number"),
        ("99999999999xH200", "from 1 to 16"),
        ("-3", "from 1 to 16"),
        ("0", "from 1 to 16 in one machine, got '0'"),
        ("2xauto", "auto by itself"),
        ("L4,H100", "of one kind"),
        ("2xL4, 2xH100", "of one kind"),
        ("2x", "as 2xH200, H200, auto or cpu"),
        ("", "as 2xH200, H200, auto or cpu"),
        ("  ", "as 2xH200, H200, auto or cpu"),
        ("2xcpu", "one processor"),
        ("2xEPYC-9654", "one processor"),
        ("8GiB", "got '8GiB'"),
        ("2xautos", "got 'autos'"),
        ("H2OO", "did you mean H200"),
        ("x" * 500, "…"),
    ],
)
def test_nonsense_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        parse(text)
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Auto",), r"a name of your own .* got 'Auto'"),
        (("12",), "a name of your own"),
        (("ours", "Ours"), "got 'ours' and 'Ours', which are read as one name"),
        (("L4", "NVIDIA L4"), "read as one name"),
    ],
)
def test_own_names_that_could_not_be_asked_for(names: tuple[str, ...], said: str) -> None:
    own = {name: {"like": "H100-SXM"} if name != "NVIDIA L4" else {"power": "70W"} for name in names}
    with pytest.raises(UsageError, match=said):
        parse("2xT4", own)


def test_a_machine_that_is_only_described() -> None:
    cluster = parse("2xL4")
    assert cluster.host_cores == 16  # 8 for each
    assert cluster.host_memory_bytes == 4 * cluster.device.memory_bytes  # twice that of both
    own = {"L4": {"host_cores": 4, "host_memory": "16GiB", "price_per_hour": 0.8}}
    cluster = parse("2xL4", own)
    assert (cluster.host_cores, cluster.host_memory_bytes, cluster.device.price_per_hour) == (8, 32 * 2**30, 0.8)
    assert parse("EPYC-9654").host_cores == 96


def test_cpu_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = parse("cpu", {"cpu": {"price_per_hour": 0.1}})
    assert cluster.device.kind == "cpu"
    assert cluster.device.price_per_hour == 0.1
    assert replace(cluster.device, price_per_hour=None) == detect.processor().device


def test_what_is_found_here_is_taken_as_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine("H200", 4)
    here = replace(here, device=replace(here.device, memory_bytes=123 * 2**30))
    monkeypatch.setattr(detect, "found", lambda own=None: (here, machine("EPYC-9654", 1)))
    assert parse("auto") == here
    assert parse("2xh200") == replace(here, count=2)
    # more than there are: a machine like those that are sold
    assert parse("8xH200").device == find("H200")


def test_training_here_needs_the_devices() -> None:
    found = (machine("H200", 2), machine("EPYC-9654", 1))
    expect_here(machine("H200", 2), found)
    expect_here(machine("EPYC-9654", 1), found)
    with pytest.raises(
        UsageError, match=r"Expected 4xH200 in this machine.*got 2xH200, 1xEPYC-9654: ask for at most 2xH200"
    ):
        expect_here(machine("H200", 4), found)
    with pytest.raises(UsageError, match=r"Expected 1xL4 .*: ask for `auto`, or only plan for it"):
        expect_here(machine("L4", 1), found)
    expect_here(parse("cpu"))
