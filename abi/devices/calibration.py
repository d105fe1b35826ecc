"""What `abi calibrate` found: the measured device beside the one that was expected, and with which versions."""

from __future__ import annotations

from dataclasses import dataclass

from abi.devices.device import Device
from abi.values import Value


@dataclass(frozen=True, kw_only=True)
class Calibration(Value):
    """Measured figures of one device.

    Attributes:
        device: with what was measured in place of what makers print. Its `rates` and `bandwidth` are those reached in
            large products and copies, so `reached_rate` and `reached_bandwidth` are 1.
        expected: the device before, from the catalogue or estimated.
        middle_rates: rates of products of middle size, which small layers come nearer to.
        copies: bytes of a tensor -> bytes per second of copying it, read and written.
        measured: names of the figures that were measured; the others are as expected.
        torch: its version, without the build.
        driver: version of the GPU's driver; empty for a processor.
        date: day of the measurement.
        seconds: how long it took.
    """

    device: Device
    expected: Device
    middle_rates: dict[str, float]
    copies: dict[str, float]
    measured: tuple[str, ...]
    torch: str
    driver: str
    date: str
    seconds: float

    def holds(self, name: str, torch: str, driver: str | None) -> bool:
        """Whether it is of a device of that name under these versions (a driver that is not known is not compared)."""
        same = self.device.name == name and self.torch == plain_version(torch)
        return same and (driver is None or not self.driver or driver == self.driver)


def plain_version(version: str) -> str:
    """``2.13.0+cpu`` -> ``2.13.0``."""
    return version.partition("+")[0]
