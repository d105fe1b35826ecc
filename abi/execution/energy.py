"""Energy and price of a run, from its time.

A device draws its idle power, and the rest of its full power in the share of the time in which it computes or copies.
"""

from __future__ import annotations

import math

import numpy as np

from abi.devices.device import Device
from abi.execution.columns import Numbers

HOUR_S = 3600.0


def power_w(device: Device, busy_share: Numbers) -> Numbers:
    """Watts of one device."""
    drawn: Numbers = device.idle_w + (device.power_w - device.idle_w) * np.minimum(busy_share, 1.0)
    return drawn


def energy_j(device: Device, devices: int, busy_share: Numbers, time_s: Numbers) -> Numbers:
    """Joules of all devices."""
    joules: Numbers = power_w(device, busy_share) * time_s * devices
    return joules


def price(device: Device, devices: int | Numbers, time_s: float | Numbers) -> Numbers:
    """In the currency of the device's price; NaN where it has none."""
    per_hour = math.nan if device.price_per_hour is None else device.price_per_hour
    paid: Numbers = np.asarray(per_hour * time_s / HOUR_S * devices)
    return paid


def beside_j(device: Device, devices: Numbers, own_j: float, time_s: float) -> Numbers:
    """Joules of all devices while one of them takes `own_j` and the others wait for it."""
    joules: Numbers = own_j + (devices - 1) * device.idle_w * time_s
    return joules
