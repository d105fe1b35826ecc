"""The devices that a plan is for: as asked, found, or measured here; measurements are kept in the workspace."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abi.devices import detect, nvml, request
from abi.devices.calibration import Calibration, plain_version
from abi.devices.catalogue import Own, key, laid_over, lineage
from abi.devices.nearest import shown
from abi.errors import UsageError, WorkspaceError, clip
from tasks import progress
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from abi.config import Config
    from abi.devices.device import Cluster, Device

NVIDIA: Final = Path("/dev/nvidiactl")
"""There where NVIDIA's driver is."""


def cluster(ws: Workspace, config: Config, asked: str) -> Cluster:
    """The devices that `asked` names (2xH200, auto, cpu), with the figures measured under this torch where there are some.

    Raises:
        UsageError: nothing has that name, or the count makes no sense.
        WorkspaceError: a kept measurement is damaged.
    """
    wanted = request.parse(asked, config.devices)
    names = lineage(wanted.device.name, config.devices)
    like, known = next(((at, found) for at in names if (found := kept(ws, at)) is not None), (None, None))
    if like is None or known is None:
        return wanted
    # the settings go before what was measured, and memory is as it is now
    device = replace(known.device, price_per_hour=wanted.device.price_per_hour, memory_bytes=wanted.device.memory_bytes)
    for name in reversed(names[: names.index(like) + 1]):
        device = laid_over(device, config.devices, name, expected=known.expected)
    if like != names[0]:
        device = replace(device, name=wanted.device.name, source=f"of {like}: {device.source}")
    return replace(wanted, device=device)


def kept(ws: Workspace, name: str) -> Calibration | None:
    """What was measured of the device of that name under this torch and this driver; None where nothing was.

    Raises:
        WorkspaceError: the file is damaged.
    """
    torch = torch_version()
    path = place(ws, name, torch)
    with disk_errors(path):
        try:
            plain = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            plain = None
    try:
        found = Calibration.from_json(plain)
    except UsageError:
        msg = f"Expected a measurement of {name} in {path}, got other content: delete the file and run `abi calibrate` again."
        raise WorkspaceError(msg) from None
    driver = nvml.driver() if found.device.kind == "gpu" else None
    return found if found.holds(name, torch, driver) else None


def place(ws: Workspace, name: str, torch: str) -> Path:
    """Where a measurement is kept."""
    return ws.root / "devices" / f"device-{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)}-{plain_version(torch)}.json"


def torch_version() -> str:
    """Of the torch that is installed; reading it does not import it."""
    return importlib.metadata.version("torch")


def measure(ws: Workspace, device: str | None, own: Own) -> tuple[Calibration, Path]:
    """Measure a device of this machine (cpu, cuda:0; None: the GPU where there is one) and keep what was found.

    Raises:
        UsageError: there is no such device here.
    """
    from abi.devices.calibrate import calibrate

    device = _torch_device(device)
    expected = _expected(device, own)
    progress.say("calibrate a few seconds; other programs would disturb it")
    found = calibrate(device, expected)
    path = place(ws, found.device.name, found.torch)
    ws.write(path, json.dumps(found.to_json(), indent=1).encode())
    return found, path


def _torch_device(asked: str | None) -> str:
    """The device as torch names it."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked is None:
        return "cuda:0" if gpus else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", asked):
        near = difflib.get_close_matches(asked.lower(), ("cpu", "cuda:0"), n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else "name the processor, or a GPU by its number."
        msg = f"Expected --device as cpu or cuda:0, got {clip(asked)!r}: {remedy}"
        raise UsageError(msg)
    if asked == "cpu":
        return asked
    index = int(asked.partition(":")[2] or 0)
    if index >= gpus:
        there = f"{gpus} GPUs" if gpus else f"no GPU that torch {torch.__version__} can use"
        msg = f"Expected a GPU of this machine, got {asked} where there is {there}: name another, or measure the processor with --device cpu."
        raise UsageError(msg)
    return f"cuda:{index}"


def _expected(device: str, own: Own) -> Device:
    """What is known of it before."""
    if device == "cpu":
        return detect.processor(own).device
    import torch

    seen = torch.cuda.get_device_properties(device)
    whole, _, part = seen.name.partition(" MIG ")
    names = {key(whole), shown(whole)}
    gpus = [c.device for c in detect.found(own) if c.device.kind == "gpu" and c.device.name.endswith(part)]
    known = next((gpu for gpu in gpus if gpu.name in names or key(gpu.name) in names), gpus[0] if gpus else None)
    if known is None:
        msg = f"Expected figures of {seen.name} to compare with, got none from the driver: `pip install nvidia-ml-py`, or describe it under `devices` in the settings."
        raise UsageError(msg)
    return known


def findings(ws: Workspace | None) -> list[dict[str, Any]]:
    """What `abi doctor` says of the devices: each with `name`, `ok`, `found` and `remedy`."""
    import torch

    from abi.units import show_bytes

    seen = detect.look()
    said: list[dict[str, Any]] = []
    for group in seen.clusters:
        device = group.device
        measured = kept(ws, device.name) if ws is not None else None
        state = (
            f"measured on {measured.date}" if measured else "not calibrated: `abi calibrate` measures what it reaches"
        )
        usable = device.kind == "cpu" or torch.cuda.is_available()
        said.append(
            {
                "name": "device",
                "ok": usable,
                "found": f"{group.count} x {device.name}, {show_bytes(device.memory_bytes)}, {state}",
                "remedy": "" if usable else f"install a torch with CUDA: {torch.__version__} cannot use this GPU",
            }
        )
    said += [{"name": "devices", "ok": True, "found": note, "remedy": ""} for note in seen.notes]
    if NVIDIA.exists() and importlib.util.find_spec("pynvml") is None:
        found = "NVIDIA's driver, and no nvidia-ml-py to ask it"
        said.append({"name": "devices", "ok": False, "found": found, "remedy": "pip install 'abi-instrument[gpu]'"})
    return said
