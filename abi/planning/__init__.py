"""From attention and an envelope to an allocation plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abi.execution.plan import plan_module

__all__ = ["plan_module"]


def __getattr__(name: str) -> Any:
    """`plan_module`, once somebody asks for it: it imports torch."""
    if name == "plan_module":
        from abi.execution.plan import plan_module  # noqa: PLC0415

        return plan_module
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
