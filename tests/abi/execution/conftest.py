"""A small device and a small footprint with round figures (`made`), and modules that fresh processes can import (`odd`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.devices.device import Cluster, Device
from abi.execution.costing import Question
from abi.execution.types import Footprint, Job, Limits, PhaseBound

ODD = '''
import os
import time

import torch
from torch import nn

class Reads(nn.Module):
    """Needs the value of a tensor."""
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 1)
    def forward(self, x):
        h = self.a(x).relu()
        if h.sum().item() > 1e9:
            h = h * 2
        return self.b(h)

class Dies(Reads):
    def forward(self, x):
        float(x.sum())
        os._exit(3)

class Greedy(Reads):
    def forward(self, x):
        float(x.sum())
        return self.b(self.a(x)) + torch.zeros(10**10)[0]

class Sleeps(Reads):
    def forward(self, x):
        float(x.sum())
        time.sleep(600)

class Wrong(Reads):
    def forward(self, x):
        return self.b(x)

def number():
    return 3

constant = 4
def frozen():
    return nn.Linear(2, 2).requires_grad_(False)
def weighted(output, arguments):
    return output.sum() * 2
def rates(parameters):
    return torch.optim.SGD(parameters, lr=0.5)
'''


class Made:
    """Factories; each takes the fields that a test changes."""

    mib = 2**20

    def device(self, **fields: Any) -> Device:
        plain: dict[str, Any] = {
            "name": "Round",
            "kind": "gpu",
            "memory_bytes": 1000 * self.mib,
            "bandwidth": 1e9,
            "rates": {"float32": 1e12, "bfloat16": 4e12},
            "reached_rate": 0.5,
            "reached_bandwidth": 0.8,
            "launch_s": 1e-5,
            "context_bytes": 100 * self.mib,
            "power_w": 110.0,
            "idle_w": 10.0,
            "link": 1e9,
            "host_link": 1e9,
            "source": "made up",
            "price_per_hour": 3.6,
        }
        return Device(**{**plain, **fields})

    def phase(self, name: str, fixed_mib: float, row_mib: float, gflops: float, moved_mb: float) -> PhaseBound:
        """Half of the bytes that grow with the rows are those of matrix products."""
        return PhaseBound(
            phase=name,  # type: ignore[arg-type]
            fixed_bytes=float(fixed_mib * self.mib),
            row_bytes=float(row_mib * self.mib),
            matrix_flops_fixed=0.0,
            matrix_flops_row=gflops * 1e9,
            moved_bytes_fixed=1e6,
            moved_bytes_row=moved_mb * 1e6,
            matrix_bytes_row=moved_mb * 0.5e6,
            launches=100.0,
        )

    def footprint(self, arithmetic: str = "float32", checkpointing: bool = False, **fields: Any) -> Footprint:
        """10 MiB of parameters, 10 of gradients, 20 of optimizer state."""
        row = (4 if checkpointing else 20) * (0.5 if arithmetic == "bfloat16" else 1.0)
        plain: dict[str, Any] = {
            "arithmetic": arithmetic,
            "checkpointing": checkpointing,
            "parameters": 10 * self.mib // 4,
            "parameter_bytes": 10 * self.mib,
            "gradient_bytes": 10 * self.mib,
            "optimizer_bytes": 20 * self.mib,
            "phases": (
                self.phase("forward", 30, row, 1.0, 0.5),
                self.phase("backward", 40, row, 3.0 if checkpointing else 2.0, 1.0),
                self.phase("optimizer", 40, 0.0, 0.0, 0.0),
                self.phase("evaluate", 40, row / 10, 1.0, 0.5),
            ),
            "uncounted": (),
            "margin": 0.1,
            "traced_rows": (1, 4),
        }
        return Footprint(**{**plain, **fields})

    def question(self, count: int = 1, limits: Limits | None = None, global_batch: int = 48, **fields: Any) -> Question:
        device = self.device(**fields.pop("device", {}))
        plain: dict[str, Any] = {
            "footprints": tuple(self.footprint(a, c) for a in device.rates for c in (False, True)),
            "cluster": Cluster(device=device, count=count, host_memory_bytes=8 << 30, host_cores=8),
            "limits": limits or Limits(),
            "job": Job(global_batch=global_batch, steps=100, row_bytes=1000),
        }
        return replace(Question(**plain), **fields)


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A module `odd_modules` on the path."""
    (tmp_path / "odd_modules.py").write_text(ODD, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "odd_modules"
