"""Cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from abi import cores as counted
from abi.cores import cores
from abi.estimators.classifier import AttentionBalancedClassifier
from abi.planning import measure


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 96 cores of which this process may use 64, without a quota yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 192)
    monkeypatch.setattr("psutil.cpu_count", lambda *, logical: 192 if logical else 96)
    monkeypatch.setattr(counted, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(counted, "FIRST_QUOTA", (tmp_path / "cfs_quota_us", tmp_path / "cfs_period_us"))
    return tmp_path


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cfs_quota_us": "-1\n", "cfs_period_us": "100000\n"}, 64),
        ({"cfs_quota_us": "200000\n", "cfs_period_us": "100000\n"}, 2),
        ({"cpu.max": "nonsense"}, 64),
    ],
)
def test_a_container_s_share_of_the_cores(big: Path, files: dict[str, str], count: int) -> None:
    for name, text in files.items():
        (big / name).write_text(text)
    assert cores() == count


def test_cores_are_physical_ones(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(192)), raising=False)
    assert cores() == 96


def test_threads_are_no_more_than_a_container_s_share(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (big / "cpu.max").write_text("200000 100000")
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    assert measure.measure("cpu", "float32", None).threads == 2
    assert asked[0] == 2
    assert AttentionBalancedClassifier(n_jobs=-1)._threads() == 2
