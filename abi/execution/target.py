"""What of a device decides which operators run on it and what memory they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from abi.devices.device import Device

LAST: Final = 2**20
"""Of cuBLASLt."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The device that a trace is for.

    Attributes:
        kind: gpu or cpu.
        capability: CUDA's compute capability; 0 where there is none.
        multiprocessors: of a GPU; reductions take workspace for each.
        library_bytes: what matrix libraries keep of the allocator's memory while a module trains.
    """

    kind: Literal["gpu", "cpu"]
    capability: float = 0.0
    multiprocessors: int = 0
    library_bytes: int = 0

    @property
    def library_parts(self) -> tuple[int, ...]:
        """As they are asked for: alike for the thread of the forward and that of the backward pass, and a last MiB."""
        each = max(0, self.library_bytes - LAST) // 2
        return (each, each, self.library_bytes - 2 * each)

    @classmethod
    def of(cls, device: Device) -> Target:
        """The target that a device is."""
        return cls(
            kind=device.kind,
            capability=device.capability,
            multiprocessors=device.multiprocessors,
            library_bytes=device.library_bytes,
        )


PROCESSOR: Final = Target(kind="cpu")
