"""What is there, what is missing, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from abi.errors import AbiError, clip
from abi.units import show_bytes
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from abi.config import Config

LIBRARIES: Final = (
    "cyclopts",
    "dvc",
    "fastapi",
    "great-expectations",
    "lightgbm",
    "mlflow",
    "pandas",
    "prefect",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "tabm",
    "torch",
)
LEAST_DISK_BYTES: Final = 2 * 2**30
LEAST_MEMORY_BYTES: Final = 2 * 2**30


def examine(root: Path, settings: Callable[[], Config]) -> list[dict[str, Any]]:
    """Findings, each with `name`, `ok`, `found` and `remedy`; `settings` reads them."""
    return [
        *map(_library, LIBRARIES),
        *_prefect(),
        *_settings(settings),
        *_devices(root),
        _memory(),
        *_workspace(root),
    ]


def _finding(name: str, ok: bool, found: str, remedy: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, "remedy": "" if ok else remedy}


def _library(name: str) -> dict[str, Any]:
    try:
        return _finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return _finding(name, False, "not installed", f"pip install {name}")


def _prefect() -> list[dict[str, Any]]:
    return [
        _prefects("fastapi", "server", (0, 139), (0, 150)),  # newer: it crashes
        _prefects("sqlalchemy", "schedules", (2, 0), (2, 1)),  # newer: no run of a schedule is made
    ]


def _prefects(name: str, reason: str, low: tuple[int, int], high: tuple[int, int]) -> dict[str, Any]:
    """A library whose newer releases install cleanly and then break Prefect's server."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    ok = low <= tuple(int(part) for part in version.split(".")[:2]) < high
    wanted = f"{name}>={low[0]}.{low[1]},<{high[0]}.{high[1]}"
    return _finding(f"{name} for Prefect's {reason}", ok, version, f"pip install '{wanted}'")


def _settings(read: Callable[[], Config]) -> list[dict[str, Any]]:
    """Settings that cannot be read, and devices of theirs that are not whole; nothing where all is well."""
    from abi.devices import detect
    from abi.devices.catalogue import find, key

    try:
        own = read().devices
    except AbiError as error:
        return [_finding("settings", False, str(error), "correct the settings")]
    wrong, here = [], {key(group.device.name) for group in detect.look().clusters} if own else set()
    for name in own:
        try:
            if key(name) not in here:  # what is found here needs no figures
                find(name, own)
        except AbiError as error:
            wrong.append(_finding("settings", False, str(error), f"correct devices.{clip(name)}"))
    return wrong


def _devices(root: Path) -> list[dict[str, Any]]:
    """GPUs and processor, and whether they were measured: of a workspace that cannot be opened another finding tells."""
    from tasks.devices import findings

    try:
        ws = Workspace.look(root)
    except AbiError:
        ws = None
    try:
        return findings(ws)
    except (ImportError, OSError) as error:
        return [_finding("torch", False, f"does not import: {error}", "install torch for this machine again")]
    except AbiError as error:
        return [_finding("device", False, str(error), "see above")]


def _memory() -> dict[str, Any]:
    free = psutil.virtual_memory().available
    return _finding(
        "memory",
        free >= LEAST_MEMORY_BYTES,
        f"{show_bytes(free)} free",
        "close other programs or lower envelope.memory",
    )


def _workspace(root: Path) -> list[dict[str, Any]]:
    """Whether the workspace can be written, or be made where there is none: nothing is left behind."""
    place = Workspace.at(root).root
    made = place.exists()
    try:
        with disk_errors(place):
            held = next(folder for folder in (place, *place.parents) if folder.exists())
            with tempfile.TemporaryDirectory(dir=held, prefix=".abi-doctor-"):
                free = shutil.disk_usage(held).free
    except (AbiError, OSError) as error:
        return [_finding("workspace", False, str(error), "name another folder with --workspace")]
    return [
        _finding("workspace", True, str(place) if made else f"none at {place} yet: `abi run` makes it"),
        _finding(
            "disk", free >= LEAST_DISK_BYTES, f"{show_bytes(free)} free", "free some space or use another --workspace"
        ),
    ]
