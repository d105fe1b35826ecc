"""The error tree. Each message says what was expected, what came, and what to do.

AbiError                    exit 1
|-- UsageError              exit 2   a wrong flag, setting or argument
|-- DataError               exit 3   the data cannot be used as asked
|-- PlanInfeasible          exit 5   no configuration fits the envelope
|-- Untraceable             exit 1   a module whose step cannot be traced without its values
|-- TrainingDiverged        exit 1   NaN or Inf in training, with its cause
|-- ProcessLost             exit 1   one of several processes that train together ended
|-- WorkspaceError          exit 1   disk full, read-only, damaged or busy workspace
|-- TrackingError           exit 1   the tracking server or registry did not answer
|-- LedgerError             exit 1   the ledger's database did not answer or refused
|-- PromotionConflict       exit 1   another promotion came first
|-- GateFailed              exit 4   a gate does not let a version become champion
|-- DriftExceeded           exit 4   new data lies past the drift limit
|-- AuditBroken             exit 6   the ledger is not as it was written
`-- ArtifactRefused         exit 6   a model's files are not what was signed

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
        nearest: envelopes that would do, nearest first, where they were looked for.
    """

    exit_code = 5

    def __init__(self, message: str, parameters: int | None = None, nearest: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.parameters, self.nearest = parameters, nearest


class Untraceable(UsageError):
    """A module's step cannot be followed by shapes alone; running it on a few rows says what it takes."""


class TrainingDiverged(AbiError):
    """A loss or gradient became NaN or Inf."""


class ProcessLost(AbiError):
    """One of several processes that train together ended before its time."""


class WorkspaceError(AbiError):
    """The workspace cannot be read or written, or another run holds it."""


class TrackingError(AbiError):
    """MLflow did not answer or refused.

    Attributes:
        transient: whether it may answer later.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class LedgerError(AbiError):
    """The ledger's database did not answer or refused."""


class PromotionConflict(AbiError):
    """The aliases changed between looking and deciding: another promotion came first.

    Attributes:
        expected: number of the entry that the decision was based on.
        found: number of the entry that holds now.
    """

    def __init__(self, message: str, expected: int, found: int) -> None:
        super().__init__(message)
        self.expected, self.found = expected, found


class GateFailed(AbiError):
    """A version did not pass its gates."""

    exit_code = 4


class DriftExceeded(AbiError):
    """New data has drifted past its limit."""

    exit_code = 4


class AuditBroken(AbiError):
    """The ledger was changed after it was written.

    Attributes:
        entry: number of the first entry that is not as it was written.
    """

    exit_code = 6

    def __init__(self, message: str, entry: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry


class ArtifactRefused(AbiError):
    """A model's files are unsigned, changed, incomplete, too many, pickled, or signed by another key.

    Attributes:
        untrusted: whether they are signed, by a key that is not trusted here.
    """

    exit_code = 6

    def __init__(self, message: str, *, untrusted: bool = False) -> None:
        super().__init__(message)
        self.untrusted = untrusted


def listed(names: list[str] | tuple[str, ...], limit: int = SHOWN) -> str:
    """Join names for a message, capped: ``'a', 'b' and 3 more``."""
    shown = ", ".join(repr(clip(name)) for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def lacking_columns(names: list[str] | tuple[str, ...], place: str = "") -> DataError:
    """What to raise where rows lack columns that the model reads; `place` is the file's name, where it has one."""
    where, ends = (f" in {place}", "file") if place else ("", "data")
    them = "it" if len(names) == 1 else "them"
    return DataError(
        f"Expected the columns that the model was trained on{where}, got no {listed(names)}: add {them} to the {ends}."
    )


def clip(text: str, limit: int = 60) -> str:
    """Shorten a long name for a message or a page."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def told(error: Exception) -> str:
    """What the system says of an error, as a part of a sentence."""
    return str(getattr(error, "strerror", None) or error).partition(" (while")[0].rstrip(".")
