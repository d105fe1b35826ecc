"""What configurations are ranked by.

Goodput is throughput x statistical efficiency (Qiao et al., "Pollux", OSDI 2021). The global batch is the user's and stays
the same in every configuration, so that the statistical efficiency is that of the user's batch in all of them, 1 here: goodput
is rows per second.
"""

from __future__ import annotations

import difflib
from typing import Final, get_args

import numpy as np

from abi.devices.device import Device
from abi.errors import UsageError, clip
from abi.execution.columns import Columns, Numbers
from abi.execution.types import Objective

TIE_BITS: Final = 40
"""Figures that agree in so many bits are the same."""


def expect_known(objective: str) -> None:
    """Refuse an objective that is none.

    Raises:
        UsageError: it names those that there are.
    """
    names = get_args(Objective)
    if objective not in names:
        near = difflib.get_close_matches(objective, names, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else "name one of them."
        msg = f"Expected an objective of {', '.join(names)}, got {clip(objective)!r}: {remedy}"
        raise UsageError(msg)


def expect_objective(objective: str, device: Device) -> None:
    """Refuse an objective that is none, or that the device has no figures for.

    Raises:
        UsageError: it is so.
    """
    expect_known(objective)
    if objective == "energy" and device.power_w <= 0:
        msg = f"Expected the power of {device.name} to rank by energy, got none: set devices.{device.name}.power."
        raise UsageError(msg)
    if objective == "cost" and not device.price_per_hour:
        got = "none" if device.price_per_hour is None else "0, at which all ways cost the same"
        msg = f"Expected a price per hour of {device.name} to rank by cost, got {got}: set devices.{device.name}.price_per_hour."
        raise UsageError(msg)


def steady(values: Numbers) -> Numbers:
    """Without the last bits, so that the order in which a sum was added up decides nothing."""
    mantissa, exponent = np.frexp(values)
    rounded: Numbers = np.ldexp(np.round(np.ldexp(mantissa, TIE_BITS)), exponent - TIE_BITS)
    return rounded


def loss(columns: Columns, objective: Objective) -> Numbers:
    """What is to be as small as can be."""
    return {
        "throughput": columns.step_s,
        "energy": columns.energy_j,
        "cost": columns.price,
        "memory": columns.memory_bound,
    }[objective]
