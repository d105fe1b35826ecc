"""The catalogue of devices, and the user's own entries, which come first.

A name is read without regard to case, dashes, spaces and the maker's words (``nvidia``, ``geforce``, ``tesla``). A bare
name means the SXM form with the least memory: H100 is H100-SXM, A100 is A100-40GB-SXM, V100 is V100-16GB.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from abi.devices.device import Device
from abi.errors import UsageError, clip, listed
from abi.hardware import DeviceConfig

Own = Mapping[str, Mapping[str, Any] | DeviceConfig]
"""The `devices` section of the settings: name -> fields."""

FILE = Path(__file__).with_name("catalogue.yaml")
NEEDED = ("memory", "bandwidth", "rates", "power")
MAKERS = re.compile(r"\b(nvidia|amd|intel|geforce|tesla|instinct)\b|[^a-z0-9+]")
ATTRIBUTES = {
    "memory": "memory_bytes",
    "bandwidth": "bandwidth",
    "rates": "rates",
    "reached_rate": "reached_rate",
    "reached_bandwidth": "reached_bandwidth",
    "launch": "launch_s",
    "step": "step_s",
    "context": "context_bytes",
    "capability": "capability",
    "multiprocessors": "multiprocessors",
    "library": "library_bytes",
    "power": "power_w",
    "idle": "idle_w",
    "link": "link",
    "host_link": "host_link",
    "price_per_hour": "price_per_hour",
}
"""Setting -> attribute of `Device`."""
SEGMENTS_BYTES = 22 * 2**20
"""Of torch's caching allocator: 20 MiB for large requests and 2 MiB for small ones (abi/execution/cuda/allocator.py)."""
CPU_LINK = 10e9
"""Bytes per second between processes of one processor, where nothing better is known."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One device of the catalogue: its figures, its other names, its compute capability, the source of each figure."""

    name: str
    figures: DeviceConfig
    also: tuple[str, ...]
    capability: str | None
    sources: dict[str, str]


@functools.cache
def entries() -> dict[str, Entry]:
    """The devices of the catalogue by name."""
    plain = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: _entry(name, fields, plain) for name, fields in plain["devices"].items()}


def _entry(name: str, fields: dict[str, Any], plain: dict[str, Any]) -> Entry:
    kind = fields.get("kind", "gpu")
    defaults = plain[kind]
    named = fields["sources"] | {
        figure: at for figure, at in defaults["sources"].items() if figure not in fields["sources"]
    }
    sources = {figure: plain["sources"][at] for figure, at in named.items()}
    figures = _figures({**defaults, "kind": kind, **fields})
    idle = round((figures.power or 0) * defaults["idle_share"], 1)
    return Entry(
        name=name,
        figures=figures.model_copy(update={"idle": idle, "source": _told(sources)}),
        also=tuple(fields.get("also", ())),
        capability=fields.get("capability"),
        sources=sources,
    )


def _figures(plain: Mapping[str, Any]) -> DeviceConfig:
    return DeviceConfig.model_validate(
        {figure: plain[figure] for figure in plain if figure in DeviceConfig.model_fields}
    )


def _told(sources: Mapping[str, str]) -> str:
    """``rates, power: NVIDIA L4 datasheet, 2023; memory: …``."""
    by_source: dict[str, list[str]] = {}
    for figure, source in sources.items():
        by_source.setdefault(source, []).append(figure)
    return "; ".join(f"{', '.join(figures)}: {source}" for source, figures in by_source.items())


def key(name: str) -> str:
    """What names are compared by: the catalogue's name where it is one of a known device."""
    plain = MAKERS.sub("", name.lower())
    return _keys().get(plain, plain)


@functools.cache
def _keys() -> dict[str, str]:
    return {
        MAKERS.sub("", word.lower()): entry.name for entry in entries().values() for word in (entry.name, *entry.also)
    }


def find(name: str, own: Own | None = None) -> Device:
    """The device of that name: the user's own entry, or the catalogue's.

    Raises:
        UsageError: nothing has that name (near names are given), or an own entry lacks a figure.
    """
    shown, figures = described(name, own or {})
    return as_device(shown, figures)


def expect_names(own: Own) -> None:
    """See that each of the user's own entries can be asked for by its name.

    Raises:
        UsageError: one is called auto, which means what is found, or by no letter; or two differ in case and dashes alone.
    """
    seen: dict[str, str] = {}
    for name in own:
        if name.strip().lower() == "auto" or not re.search(r"[a-z]", name, re.IGNORECASE):
            msg = f"Expected a name of your own under `devices` in the settings, got {clip(name)!r}: auto means what is found, and digits alone a number; call it otherwise."
            raise UsageError(msg)
        other = seen.setdefault(key(name), name)
        if other != name:
            msg = f"Expected one entry for each device under `devices` in the settings, got {clip(other)!r} and {clip(name)!r}, which are read as one name: keep one, or call one otherwise."
            raise UsageError(msg)


def described(name: str, own: Own, _seen: tuple[str, ...] = ()) -> tuple[str, DeviceConfig]:
    """Its name as it is shown, and its figures with those of `like` and of the catalogue filled in.

    Raises:
        UsageError: as `find`.
    """
    wanted = key(name)
    mine = next((at for at in own if key(at) == wanted and at not in _seen), None)
    known = entries().get(wanted)
    if mine is None:
        if known is None:
            if any(key(at) == wanted for at in _seen):
                circle = " -> ".join(clip(at) for at in (*_seen, name))
                msg = f"Expected `like` to lead to a device with figures, got the circle {circle} in the settings: let one of them start from a device of the catalogue."
                raise UsageError(msg)
            raise UsageError(_unknown(name, own))
        return known.name, known.figures
    fields = _validated(mine, own[mine])
    if fields.like is not None:
        return mine, _over(described(fields.like, own, (*_seen, mine))[1], fields)
    if known is not None:
        return known.name, _over(known.figures, fields)
    return mine, _whole(mine, fields)


def _validated(name: str, fields: Mapping[str, Any] | DeviceConfig) -> DeviceConfig:
    try:
        return fields if isinstance(fields, DeviceConfig) else DeviceConfig.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("devices", name, *first["loc"])))
        if first["type"] == "extra_forbidden":
            msg = f"Expected a known setting, got {where!r}: `abi config schema` lists them."
        else:
            msg = f"Setting {where!r}: {first['msg'].removeprefix('Value error, ')}"
        raise UsageError(msg) from None


def _over(base: DeviceConfig, fields: DeviceConfig) -> DeviceConfig:
    """`base` with what `fields` says in its place; rates one by one."""
    said = _said(fields)
    figures = said.keys() - {"like", "source", "price_per_hour"}
    if "rates" in said:
        said["rates"] = {**base.rates, **fields.rates}
    if figures:
        said["source"] = f"{', '.join(sorted(figures))}: {fields.source}; others: {base.source}"
    else:
        said["source"] = base.source
    return base.model_copy(update=said)


def _said(fields: DeviceConfig) -> dict[str, Any]:
    """What an entry says; a field that is null or empty says nothing."""
    return {name: value for name, value in fields if name in fields.model_fields_set and value not in (None, {})}


def _whole(name: str, fields: DeviceConfig) -> DeviceConfig:
    """An entry that starts from nothing: what is typical is filled in, what must be known is asked for."""
    missing = [figure for figure in NEEDED if not getattr(fields, figure)]
    if missing:
        msg = f"Expected memory, bandwidth, rates and power of the device {clip(name)!r} in the settings, got no {' and no '.join(missing)}: add what is missing, or start from a known one with `like: H100-SXM`."
        raise UsageError(msg)
    plain = yaml.safe_load(FILE.read_text(encoding="utf-8"))[fields.kind or "gpu"]
    typical = _figures(plain)
    idle = fields.idle or round((fields.power or 0) * plain["idle_share"], 1)
    return _over(typical, fields).model_copy(
        update={"idle": idle, "source": f"{fields.source}; what it leaves out: typical"}
    )


def lineage(name: str, own: Own) -> tuple[str, ...]:
    """The names that a device's figures come from: its own, then each `like`, as far as they go."""
    found: list[str] = []
    while key(name) not in map(key, found):
        found.append(name)
        mine = next((at for at in own if key(at) == key(name)), None)
        like = None if mine is None else _validated(mine, own[mine]).like
        if like is None:
            known = entries().get(key(name))
            return (*found[:-1], known.name) if known is not None else tuple(found)
        name = like
    return tuple(found)


def laid_over(device: Device, own: Own, *names: str, expected: Device | None = None) -> Device:
    """`device` with what the settings say of it under one of `names`.

    Where it was measured, its figures are those that it reaches, and theirs are peaks: of these the share counts that was
    `expected` of it before, unless they say which.
    """
    mine = next((at for at in own if key(at) in map(key, names)), None)
    if mine is None:
        return device
    fields = _validated(mine, own[mine])
    said = _said(fields)
    figures = {attribute: said[name] for name, attribute in ATTRIBUTES.items() if name in said}
    if "rates" in figures:
        peak = figures["rates"]
        if expected is not None and device.reached_rate == 1 and "reached_rate" not in said:
            peak = {name: expected.reached_rate * rate for name, rate in peak.items()}
        figures["rates"] = {**device.rates, **peak}
    if "bandwidth" in figures and expected is not None and device.reached_bandwidth == 1:
        figures["bandwidth"] *= 1 if "reached_bandwidth" in said else expected.reached_bandwidth
    return replace(device, **figures)


def as_device(name: str, figures: DeviceConfig) -> Device:
    """Complete figures as the value that plans carry.

    Raises:
        UsageError: they contradict each other.
    """
    if _there(figures.idle) > _there(figures.power):
        msg = f"Expected an idle power of {clip(name)} of at most its power at full load, got {figures.idle:g} W over {figures.power:g} W: correct devices.{clip(name)}."
        raise UsageError(msg)
    gpu = figures.kind != "cpu"
    host_link = figures.host_link or (15.75e9 if gpu else figures.bandwidth)
    return Device(
        name=name,
        kind="gpu" if gpu else "cpu",
        memory_bytes=_there(figures.memory),
        bandwidth=_there(figures.bandwidth),
        rates=dict(sorted(figures.rates.items())),
        reached_rate=_there(figures.reached_rate),
        reached_bandwidth=_there(figures.reached_bandwidth),
        launch_s=_there(figures.launch),
        context_bytes=figures.context or 0,
        power_w=_there(figures.power),
        idle_w=_there(figures.idle),
        link=figures.link or (_there(host_link) if gpu else CPU_LINK),
        host_link=_there(host_link),
        source=figures.source,
        segments_bytes=SEGMENTS_BYTES if gpu else 0,
        step_s=figures.step or 0.0,
        capability=figures.capability or 0.0,
        multiprocessors=figures.multiprocessors or 0,
        library_bytes=figures.library or 0,
        price_per_hour=figures.price_per_hour,
    )


def _there(value: Any) -> Any:
    assert value is not None  # complete figures
    return value


def _unknown(name: str, own: Own) -> str:
    names = [*own, *entries()]
    spelled = {MAKERS.sub("", word.lower()): word for word in names} | _keys()
    near = difflib.get_close_matches(MAKERS.sub("", name.lower()), spelled, n=3, cutoff=0.5)
    if near:
        meant = list(dict.fromkeys(spelled[word] for word in near))
        remedy = f"did you mean {' or '.join(meant)}?"
    else:
        remedy = f"known are {listed(names, 8)}."
    return f"Expected a device of the catalogue or of `devices` in the settings, got {clip(name)!r}: {remedy}"
