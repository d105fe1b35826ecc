"""Residuals in a workspace."""

from __future__ import annotations

import json

import pytest
import torch

from tasks import residuals
from tasks.workspace import Workspace


def write(ws: Workspace, number: int, data: bytes | None = None) -> None:
    one = {"memory_bytes": 1 + number / 100, "train_time_s": 0.5, "latency_s": 1.0}
    folder = ws.root / "residuals" / f"network-cpu-float32-{torch.__version__}"
    ws.write(folder / f"{number:064x}.json", json.dumps(one).encode() if data is None else data)


def test_nine_trainings_make_a_margin_of_their_device_and_precision(ws: Workspace) -> None:
    for number in range(8):
        write(ws, number)
    assert residuals.margins(ws, "cpu", "float32") == ()
    write(ws, 8)
    (found,) = residuals.margins(ws, "cpu", "float32")
    assert (found.family, found.runs, found.train_time_s) == ("network", 9, 1.0)
    assert found.memory_bytes == pytest.approx(1.08)
    assert residuals.margins(ws, "cpu", "bfloat16") == ()
    write(ws, 8, b"")  # as after a power failure
    assert residuals.margins(ws, "cpu", "float32") == ()
