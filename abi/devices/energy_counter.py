"""Energy that a device says it has used: NVIDIA's counter of a GPU, or Linux's (RAPL) of the processor's packages.

Both count the whole device, whoever uses it. RAPL's wraps around after some hundred kilojoules, so it has to be looked at
now and then.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from abi.devices import nvml

POWERCAP: Final = Path("/sys/class/powercap")
MILLI, MICRO = 1e-3, 1e-6


@dataclass
class EnergyCounter:
    """Joules since it was opened; `name` is the counter's, `missing` why there is none."""

    name: str = ""
    missing: str = ""
    read: Callable[[], list[float]] | None = None
    wraps: list[float] = field(default_factory=list)
    """Joules at which each reading begins again; 0 is never."""
    _last: list[float] = field(default_factory=list)
    _total: float = 0.0
    _alone: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Add what was used since the last look; a counter that fails once is not believed any more."""
        with self._alone:
            if self.read is None:
                return
            try:
                now = self.read()
            except Exception as error:  # a driver may be unloaded, a file withdrawn
                self.read, self.missing = None, f"energy, as {self.name} stopped answering ({error})"
                return
            if self._last:
                steps = (a - b for a, b in zip(now, self._last, strict=True))
                self._total += sum(s + wrap if s < 0 else s for s, wrap in zip(steps, self.wraps, strict=True))
            self._last = now

    @property
    def joules(self) -> float | None:
        """What was used; None where nothing tells."""
        return None if self.read is None else self._total


@contextlib.contextmanager
def counting(device: str, library: Any = None, folder: Path = POWERCAP) -> Iterator[EnergyCounter]:
    """The counter of a torch device (cpu, cuda:0), begun now and read once more at the end."""
    if not device.startswith("cuda"):
        counter = _packages(folder)
        counter.look()
        yield counter
        counter.look()
        return
    with contextlib.ExitStack() as stack:
        try:
            counter = _card(stack.enter_context(nvml.opened(library)), device)
        except nvml.NoGpu as reason:
            counter = EnergyCounter(missing=f"energy, as {reason}")
        counter.look()
        yield counter
        counter.look()


def _packages(folder: Path) -> EnergyCounter:
    """RAPL's zones of whole packages; their parts (cores, memory) lie in subzones, which would count twice."""
    zones = [zone for zone in sorted(folder.glob("*rapl:*")) if re.fullmatch(r"[\w-]*rapl:\d+", zone.name)]
    # the MMIO interface counts the same packages again
    zones = [zone for zone in zones if "mmio" not in zone.name] or zones
    if not zones:
        return EnergyCounter(missing="energy, as this machine has no counter of the processor's (RAPL)")
    try:
        wraps = [float((zone / "max_energy_range_uj").read_text("ascii")) * MICRO for zone in zones]
        files = [zone / "energy_uj" for zone in zones]
        for file in files:
            file.read_text("ascii")
    except (OSError, ValueError) as error:
        return EnergyCounter(missing=f"energy, as the processor's counter cannot be read ({error})")
    return EnergyCounter("RAPL", "", lambda: [float(file.read_text("ascii")) * MICRO for file in files], wraps)


def _card(library: Any, device: str) -> EnergyCounter:
    try:
        handle = library.nvmlDeviceGetHandleByUUID(_uuid(device))
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (library.NVMLError, AttributeError) as error:
        return EnergyCounter(missing=f"energy, as this GPU has no counter ({error})")

    def read() -> list[float]:
        return [float(library.nvmlDeviceGetTotalEnergyConsumption(handle)) * MILLI]

    return EnergyCounter("NVML", "", read, [0.0])


def _uuid(device: str) -> Any:
    torch = importlib.import_module("torch")  # heavy, and there where a GPU is trained on
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
