from __future__ import annotations

from pathlib import Path

import pytest

from abi.devices import processor

XEON = "model name\t: Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16\n"
EPYC = "model name\t: AMD EPYC 9654 96-Core Processor\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name", "rates"),
    [
        (XEON, "Intel-Xeon-Platinum-8480+-4-cores", {"float32": 4 * 2e9 * 64, "bfloat16": 4 * 2e9 * 1024}),
        (EPYC, "AMD-EPYC-9654-4-cores", {"float32": 4 * 2e9 * 32, "bfloat16": 4 * 2e9 * 64}),
        ("", "toaster-4-cores", {"float32": 4 * 2e9 * 16}),
    ],
)
def test_rates_by_cores_clock_and_instructions(
    cpuinfo: str, name: str, rates: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(processor, "cores", lambda: 4)
    monkeypatch.setattr(processor, "_hertz", lambda: 2e9)
    monkeypatch.setattr("platform.processor", lambda: "toaster")
    device = processor.local()
    assert (device.name, device.rates) == (name, rates)
    assert device.context_bytes == 0
    assert "abi calibrate" in device.source


def test_a_container_s_limit_is_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(processor, "LIMITS", (limit,))
    whole = processor.memory()
    limit.write_text("max\n")
    assert processor.memory() == whole
    limit.write_text("1073741824\n")
    assert processor.memory() == 2**30
