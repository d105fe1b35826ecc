"""Commands for auditors: audit, replay, explain, diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App


def register(app: App) -> None:
    """Put the commands on `app`."""
