"""What trainings and runs of this workspace really took beside what was predicted: kept for the bounds of later plans."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import torch

from abi.devices.device import Arithmetic
from abi.errors import WorkspaceError
from abi.execution.learned import learned as learned_of
from abi.execution.learned import residual as residual_of
from abi.planning.margins import Margin, margin, residual
from abi.types import Family
from tasks.progress import say

if TYPE_CHECKING:
    from abi.devices.device import Device
    from abi.execution.learned import Learned
    from abi.execution.types import ExecutionPlan
    from abi.outcomes import Trained
    from tasks.workspace import Workspace

REMEMBERED: Final = 200
"""The newest so many count."""
FAMILIES: Final[tuple[Family, ...]] = ("network", "trees")


def keep(ws: Workspace, trained: Iterable[Trained]) -> None:
    """Keep one residual for each training of one family; asked again, nothing changes. A failure costs a line alone."""
    try:
        for one in trained:
            if one.family in FAMILIES and one.history:
                run = one.plan.execution
                path = _folder(ws, one.family, run.device, run.precision) / f"{one.id}.json"
                if not path.is_file():
                    ws.write(path, json.dumps(residual(one)).encode(), durable=False)
    except WorkspaceError as error:  # the run is registered already
        say(f"record    residuals were not kept: {error}")


def margins(ws: Workspace, device: str, precision: str) -> tuple[Margin, ...]:
    """What the residuals of this device, precision and version of torch teach, by family; a prior until they do."""
    used: dict[Family, tuple[str, str]] = {"network": (device, precision), "trees": ("cpu", "float32")}
    return tuple(margin(family, _newest(_folder(ws, family, *where))) for family, where in used.items())


def keep_execution(ws: Workspace, plan: ExecutionPlan, *, peak_bytes: int, step_s: float) -> int:
    """Keep what a run of a module took beside what its plan said; gives how many such runs there are now.

    Args:
        ws: where.
        plan: what was run.
        peak_bytes: of tensors.
        step_s: of an optimizer step, without the loader.
    """
    one = residual_of(plan, peak_bytes=peak_bytes, step_s=step_s)
    folder = _folder(ws, *_module(plan.module, plan.cluster.device.name, plan.configuration.arithmetic))
    path = folder / f"{plan.id[:32]}{time.time_ns():032x}.json"
    ws.write(path, json.dumps(one).encode(), durable=False)
    return len(list(folder.glob("*.json")))


def learned(ws: Workspace, module: str, device: Device) -> tuple[Learned, ...]:
    """What runs of a module on this kind of device teach, by arithmetic."""
    found = [
        learned_of(arithmetic, _newest(_folder(ws, *_module(module, device.name, arithmetic))))
        for arithmetic in get_args(Arithmetic)
    ]
    return tuple(one for one in found if one is not None)


def _module(module: str, device: str, arithmetic: str) -> tuple[str, str, str]:
    """Words of a folder's name: what a name may hold besides letters goes, and a hash of it tells two apart."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", module)[-60:].strip("-.")
    mark = hashlib.sha256(module.encode()).hexdigest()[:8]
    return f"module-{plain}-{mark}", re.sub(r"[^A-Za-z0-9.+-]+", "-", device), arithmetic


def _newest(folder: Path) -> list[dict[str, float]]:
    files = sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [_read(path) for path in files[-REMEMBERED:]]


def _read(path: Path) -> dict[str, float]:
    try:
        plain: dict[str, float] = json.loads(path.read_bytes())
    except (ValueError, OSError):  # a power failure; as good as none
        return {}
    return plain


def _folder(ws: Workspace, family: str, device: str, precision: str) -> Path:
    return ws.root / "residuals" / f"{family}-{device.replace(':', '-')}-{precision}-{torch.__version__}"
