"""What trainings of this workspace really cost beside what was predicted: kept for the margins of later plans."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from abi.errors import WorkspaceError
from abi.planning.margins import Margin, margin, residual
from abi.types import Family
from tasks.progress import say

if TYPE_CHECKING:
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
    """What the residuals of this device, precision and version of torch teach, by family."""
    found = []
    for family, used in (("network", (device, precision)), ("trees", ("cpu", "float32"))):
        files = sorted(_folder(ws, family, *used).glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        one = margin(family, [_read(path) for path in files[-REMEMBERED:]])  # type: ignore[arg-type]  # of two families
        if one is not None:
            found.append(one)
    return tuple(found)


def _read(path: Path) -> dict[str, float]:
    try:
        plain: dict[str, float] = json.loads(path.read_bytes())
    except (ValueError, OSError):  # a power failure; as good as none
        return {}
    return plain


def _folder(ws: Workspace, family: str, device: str, precision: str) -> Path:
    return ws.root / "residuals" / f"{family}-{device.replace(':', '-')}-{precision}-{torch.__version__}"
