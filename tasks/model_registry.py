"""Registered versions in MLflow: what there is, their tags, and the aliases, which only repeat what the ledger says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from abi.audit.entry import Aliases
from abi.errors import UsageError
from tasks.mlflow_answers import answering
from tasks.mlflow_runs import OPERATION, QUARANTINED, STATE
from tasks.tracking import Tracking, every

ALIASES = ("champion", "challenger", "previous")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One registered version. `operation` is None where somebody else registered it."""

    name: str
    number: int
    run_id: str
    operation: str | None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """What MLflow loads."""
        return f"models:/{self.name}/{self.number}"

    @property
    def quarantined(self) -> bool:
        """Whether nobody may use it."""
        return self.tags.get(STATE) == QUARANTINED


def versions(tracking: Tracking, model: str) -> list[Version]:
    """All versions of a model, oldest first."""
    with answering(tracking.uri):
        found = every(functools.partial(tracking.client.search_model_versions, f"name = '{model}'"))
        made = [
            Version(
                name=v.name,
                number=int(v.version),
                run_id=str(v.run_id),
                operation=v.tags.get(OPERATION),
                tags=dict(v.tags),
            )
            for v in found
        ]
    return sorted(made, key=lambda version: version.number)


def find_version(tracking: Tracking, model: str, number: int) -> Version:
    """That version.

    Raises:
        UsageError: there is none.
    """
    found = versions(tracking, model)
    for version in found:
        if version.number == number:
            return version
    there = ", ".join(str(v.number) for v in found[-10:]) or "none"
    msg = f"Expected a registered version {number} of {model!r}, found {there}: `abi leaderboard` lists them."
    raise UsageError(msg)


def mark(tracking: Tracking, version: Version, key: str, value: str) -> None:
    """Put a tag on a version."""
    with answering(tracking.uri):
        tracking.client.set_model_version_tag(version.name, str(version.number), key, value)


def remove(tracking: Tracking, version: Version) -> None:
    """Delete a version."""
    with answering(tracking.uri):
        tracking.client.delete_model_version(version.name, str(version.number))


def point(tracking: Tracking, model: str, wanted: Aliases) -> dict[str, int]:
    """Make MLflow's aliases say what the ledger says; gives those whose version MLflow has no more, which are left out."""
    there, gone = tracking.aliases(model), dict[str, int]()
    with answering(tracking.uri):
        for alias in ALIASES:
            version, now = getattr(wanted, alias), there.get(alias)
            if version is None and now is not None:
                tracking.client.delete_registered_model_alias(model, alias)
            elif version is not None and str(now) != str(version):
                if tracking.run_of(model, version) is None:
                    gone[alias] = version
                else:
                    tracking.client.set_registered_model_alias(model, alias, str(version))
    return gone
