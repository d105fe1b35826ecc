"""The devices that the settings name, and whether they are here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from abi.devices import request
from abi.devices.catalogue import Own
from abi.devices.device import Cluster
from abi.errors import UsageError

if TYPE_CHECKING:
    from abi.config import Config


def asked_devices(config: Config, find: Callable[[str], Cluster]) -> Cluster | None:
    """What `training.gpus` names; where it names none and energy or cost is limited, what this machine trains on.

    Args:
        config: the settings.
        find: a name, such as 2xL4 or auto -> the devices.

    Raises:
        UsageError: it names none that is known, or not what `training.device` says.
    """
    settings, envelope = config.training, config.envelope
    if settings.gpus is None:
        limited = envelope.energy is not None or envelope.cost is not None
        return find("cpu" if settings.device == "cpu" else "auto") if limited else None
    found = find(settings.gpus)
    if settings.device not in ("auto", torch_name(found)):
        msg = f"Expected training.device=auto or {torch_name(found)} beside training.gpus={settings.gpus}, got {settings.device}: leave one out."
        raise UsageError(msg)
    return found


def torch_name(cluster: Cluster) -> str:
    """The kind of device as torch and `training.device` name it."""
    return "cuda" if cluster.device.kind == "gpu" else "cpu"


def expect_here(cluster: Cluster | None, own: Own) -> None:
    """See that this machine has the devices of a training.

    Raises:
        UsageError: it does not, or torch cannot use them.
    """
    if cluster is not None:
        request.expect_here(cluster, own=own)


def is_here(cluster: Cluster, own: Own) -> bool:
    """Whether this machine has the devices."""
    try:
        expect_here(cluster, own)
    except UsageError:
        return False
    return True
