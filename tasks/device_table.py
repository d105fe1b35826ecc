"""A calibration as the rows of a table: what was measured, beside what was expected."""

from __future__ import annotations

from collections.abc import Iterator

from abi.devices.calibration import Calibration
from abi.units import show_bandwidth, show_bytes, show_rate, show_seconds

Row = tuple[str, str, str, str]


def rows(found: Calibration) -> Iterator[Row]:
    """Figure, measured, expected, share of a peak that was reached."""
    device, before = found.device, found.expected
    for name, rate in device.rates.items():
        yield f"{name}, large", show_rate(rate), show_rate(before.rates[name]), f"{rate / before.rates[name]:.0%}"
    for name, rate in found.middle_rates.items():
        yield f"{name}, middle", show_rate(rate), show_rate(before.rates[name]), f"{rate / before.rates[name]:.0%}"
    share = f"{device.bandwidth / before.bandwidth:.0%}"
    yield "copy", show_bandwidth(device.bandwidth), show_bandwidth(before.bandwidth), share
    for name, attribute in (("link", "link"), ("host link", "host_link")):
        if attribute in found.measured:
            now, then = getattr(device, attribute), getattr(before, attribute)
            yield name, show_bandwidth(now), show_bandwidth(then), f"{now / then:.0%}"
    yield "launch", show_seconds(device.launch_s), show_seconds(before.launch_s), ""
    if "context_bytes" in found.measured:
        yield "context", show_bytes(device.context_bytes), show_bytes(before.context_bytes), ""
    for name, attribute in (("power, load", "power_w"), ("power, idle", "idle_w")):
        if attribute in found.measured:
            yield name, f"{getattr(device, attribute):.0f} W", f"{getattr(before, attribute):.0f} W", ""
