"""Features that belong together, so that the regions of a picture or the windows of a sensor are one row of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from abi.inputs.trunk import region_macs
from abi.problem import Feature, Schema
from abi.report.wording import clean, percent, plural
from abi.types import Plan

What = Literal["feature", "picture", "sound", "windows", "history"]

NOW: Final = "now"
ITSELF: Final = "itself"
_WINDOW: Final = re.compile(r"(?P<channel>.+)@(?P<window>[a-z_]+\d*)")
_UNITS: Final[dict[What, tuple[str, str]]] = {
    "feature": ("feature", "features"),
    "picture": ("region", "regions"),
    "sound": ("region", "regions"),
    "windows": ("window", "windows"),
    "history": ("figure", "figures"),
}


@dataclass(frozen=True)
class Group:
    """Features that are shown in one row: alone, regions of a media column, a channel's windows, what is known of a user or item.

    Attributes:
        name: of the row: the feature's, the column's or the channel's.
        members: names of the features, in schema order.
        what: they are.
    """

    name: str
    members: tuple[str, ...]
    what: What

    @property
    def alone(self) -> bool:
        """Whether it is one feature, shown as itself."""
        return self.what == "feature"

    @property
    def counted(self) -> str:
        """``'16 regions'``; nothing of a feature alone."""
        return "" if self.alone else plural(len(self.members), *_UNITS[self.what])

    def total(self, values: Mapping[str, float]) -> float:
        """The sum of the members' values; who has none counts 0."""
        return sum(values.get(name, 0.0) for name in self.members)

    def short(self, member: str) -> str:
        """A member's name within the group: ``'[2,3]'`` of ``'photo[2,3]'``, ``'lag3'`` of ``'speed@lag3'``."""
        rest = member if self.alone else member.removeprefix(self.name).removeprefix("@")
        return rest or (ITSELF if self.what == "history" else NOW)


def grouped(schema: Schema) -> tuple[Group, ...]:
    """The groups, in the order of their first features. A window that has no other beside it stays alone."""
    media: dict[str, What] = {g.column: "sound" if g.medium == "audio" else "picture" for g in schema.grids}
    plain = [f.name for f in schema.features if f.kind != "region"]
    windowed = {channel_of(name) for name in plain}
    channels = Counter(channel_of(name) or (name if name in windowed else None) for name in plain)
    derivation = schema.derivation
    behaviour = None if derivation is None else derivation.behaviour
    sides = () if behaviour is None else (behaviour.user, behaviour.item)
    found: dict[tuple[What, str], list[str]] = {}
    for feature in schema.features:
        found.setdefault(_key(feature, media, channels, sides), []).append(feature.name)
    return tuple(Group(name, tuple(members), what) for (what, name), members in found.items())


def by_group(schema: Schema, names: Iterable[str]) -> dict[Group, list[str]]:
    """Each group with those of `names` that are its members, in the order of the names."""
    group_of = {name: group for group in grouped(schema) for name in group.members}
    found: dict[Group, list[str]] = {}
    for name in names:
        found.setdefault(group_of.get(name) or Group(name, (name,), "feature"), []).append(name)
    return found


def channel_of(name: str) -> str | None:
    """``'speed'`` of ``'speed@lag3'``; None of a name that is no window's."""
    match = _WINDOW.fullmatch(name)
    return None if match is None else match["channel"]


def most_of(group: Group, values: Mapping[str, float], what: str, most: int = 2) -> str:
    """``'16 regions, most attention in [2,2] and [2,3]'``."""
    found = [values.get(name, 0.0) for name in group.members]
    if min(found) == max(found):
        return f"{group.counted}, the same {what} in all"
    order = sorted(group.members, key=lambda name: -values.get(name, 0.0))[:most]
    return f"{group.counted}, most {what} in {' and '.join(clean(group.short(name), 40) for name in order)}"


def division_of(plan: Plan, group: Group) -> str:
    """What a group was given: ``'16 regions, 50% of the multiply-accumulates, most attention in [2,2] and [2,3]'``."""
    said = most_of(group, {w.feature: w.weight for w in plan.attention.weights}, "attention")
    size = next((size for size in plan.capacity.grids if size.column == group.name), None)
    grid = next((grid for grid in plan.attention.scores.problem.schema.grids if grid.column == group.name), None)
    if size is not None and grid is not None:
        whole = region_macs(grid, size.base) * grid.regions
        first, rest = said.split(", ", 1)
        return f"{first}, {percent(size.macs / whole)} of the multiply-accumulates, {rest}"
    given = [f.width > 0 for f in plan.capacity.features if f.feature in group.members]
    if plan.capacity.empty and plan.trees is not None:
        given = [f.contribution > 0 for f in plan.trees.features if f.feature in group.members]
    if not any(given):
        return f"{group.counted}, nothing given"
    without = sum(not one for one in given)
    return said + (f"; {without:,} given nothing" if without else "")


def _key(
    feature: Feature, media: Mapping[str, What], channels: Counter[str | None], sides: Sequence[str]
) -> tuple[What, str]:
    if feature.kind == "region":
        return media[feature.column], feature.column
    channel = channel_of(feature.name) or feature.name
    if channels[channel] > 1:
        return "history" if channel in sides else "windows", channel
    return "feature", feature.name
