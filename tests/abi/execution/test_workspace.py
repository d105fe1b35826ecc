"""Convolutions on the processor, whose kernels copy what they are given: traces beside what the allocator gave out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from abi.execution.allocator import allocated_peaks
from abi.execution.batch import parse_batch
from abi.execution.footprint import footprint, phase_bytes
from abi.execution.step import PHASES, Training


def plain() -> nn.Module:
    """Activations are small beside what convolutions take for a moment."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(inplace=True),
        nn.AvgPool2d(4), nn.Conv2d(32, 30, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(30 * 16, 4),
    )  # fmt: skip


def strided() -> nn.Module:
    """A convolution over positions in order, which halves them."""
    return nn.Sequential(
        nn.Conv1d(40, 64, 5, padding=2), nn.ReLU(), nn.Conv1d(64, 64, 5, padding=2, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 4),
    )  # fmt: skip


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish(), nn.Conv2d(16, 64, 1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1, 1, groups=64), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 16, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.GELU(), nn.Conv2d(32, 64, 3, 2, 1), nn.GELU(),
        nn.ConvTranspose2d(64, 32, 2, 2), nn.GELU(), nn.ConvTranspose2d(32, 3, 2, 2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("build", "batch"),
    [
        (plain, "x=f32[B,3,16,16]"),
        (strided, "x=f32[B,40,100]"),
        (depthwise, "x=f32[B,3,32,32]"),
        (transposed, "x=f32[B,3,32,32]"),
    ],
)
def test_no_phase_takes_more_than_its_bound(build: Callable[[], nn.Module], batch: str) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    training = Training(build=build, batch=parse_batch(batch))
    found = footprint(training)
    actual = allocated_peaks(training, 100)
    for phase in PHASES:
        line = phase_bytes(found, phase, 100)
        assert 0.92 * line <= actual[phase] <= line * (1 + found.margin), phase
