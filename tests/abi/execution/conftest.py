"""Modules that fresh processes can import by name."""

from __future__ import annotations

import pytest

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


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A module `odd_modules` on the path."""
    (tmp_path / "odd_modules.py").write_text(ODD, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "odd_modules"
