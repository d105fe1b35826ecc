"""The error tree. Each message says what was expected, what came, and what to do.

AbiError                    exit 1
|-- UsageError              exit 2   a wrong flag, setting or argument
|-- DataError               exit 3   the data cannot be used as asked
|-- PlanInfeasible          exit 5   no configuration fits the envelope
|-- TrainingDiverged        exit 1   NaN or Inf in training, with its cause
|-- WorkspaceError          exit 1   disk full, read-only, damaged or busy workspace
`-- TrackingError           exit 1   the tracking server or registry did not answer

The three that are about values (UsageError, DataError, PlanInfeasible) are also ValueErrors, which is what callers in
Python expect of them.
"""

from __future__ import annotations

from typing import ClassVar

SHOWN = 5


class AbiError(Exception):
    """Base of all errors that a user can mend; its text is one clear sentence."""

    exit_code: ClassVar[int] = 1


class UsageError(AbiError, ValueError):
    """A flag, setting or argument that cannot be used."""

    exit_code = 2


class DataError(AbiError, ValueError):
    """Data that cannot be used as asked."""

    exit_code = 3


class PlanInfeasible(AbiError, ValueError):
    """No configuration fits the envelope; the message names the smallest that would do.

    Attributes:
        parameters: of that smallest one, where it was a network; None otherwise.
    """

    exit_code = 5

    def __init__(self, message: str, parameters: int | None = None) -> None:
        super().__init__(message)
        self.parameters = parameters


class TrainingDiverged(AbiError):
    """A loss or gradient became NaN or Inf."""


class WorkspaceError(AbiError):
    """The workspace cannot be read or written, or another run holds it."""


class TrackingError(AbiError):
    """MLflow did not answer or refused."""


def listed(names: list[str] | tuple[str, ...], limit: int = SHOWN) -> str:
    """Join names for a message, capped: ``'a', 'b' and 3 more``."""
    shown = ", ".join(repr(clip(name)) for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def clip(text: str, limit: int = 60) -> str:
    """Shorten a long name for a message or a page."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
