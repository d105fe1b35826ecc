"""Measuring the machine."""

from __future__ import annotations

import pytest
import torch

from abi.planning.machine import Machine
from abi.planning.measure import find_device, find_precision, measure, measure_pictures


@pytest.fixture(scope="module", name="machine")
def _machine() -> Machine:
    return measure("cpu", "float32", 1)


def test_the_constants_are_positive_and_of_a_sane_size(machine: Machine) -> None:
    assert 1e-5 <= machine.call_s < 1.0
    assert 0 <= machine.activation_s < 1e-5
    assert 1e-15 <= machine.mac_s < 1e-7
    assert 0 < machine.predict_call_s < 1.0
    assert machine.memory_bytes > 2**28
    assert (machine.device, machine.precision, machine.threads) == ("cpu", "float32", 1)


def test_a_measured_machine_survives_json(machine: Machine) -> None:
    assert Machine.from_json(machine.to_json()) == machine


def test_measuring_leaves_the_random_state_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    measure("cpu", "float32", 1)
    assert torch.equal(torch.rand(3), expected)


def test_what_was_asked_for_goes_first() -> None:
    assert find_device("cpu") == "cpu"
    assert find_device("auto") in {"cpu", "cuda"}
    assert find_precision("float32", "cpu") == "float32"
    assert find_precision("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx2"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")]
)
def test_bfloat16_only_where_the_processor_has_it(
    flags: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abi.planning.measure._cpu_flags", lambda: flags)
    assert find_precision("auto", "cpu") == expected


def test_what_pictures_take_is_measured_and_leaves_the_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = measure_pictures("cpu", 1)
    assert torch.equal(torch.rand(3), expected)
    assert min(found.mac, found.map, found.tile) >= 0
    # whole pictures at 16 channels: some three million multiply-accumulates, which no processor does in a microsecond
    assert 1e-6 < found.mac * 3e6 + found.map * 170_000 < 1.0
