"""An entry of the ledger: one decision, what it was made from, who made it, and when; sealed by a hash and a signature.

An entry holds the hash of the one before it (a hash chain: Haber and Stornetta 1991), so none can be changed, taken out or
moved without all later ones. What is hashed and signed is the canonical JSON text itself, and that text is what is stored.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from abi.values import Value

Kind = Literal[
    "snapshot", "checks", "scores", "attention", "plan", "training", "control", "outcome", "registration",
    "gates", "promotion", "approval", "rollback", "quarantine", "drift", "adaptation", "trigger", "missed", "key", "signing",
]  # fmt: skip
"""What an entry is about, in the order of a run and of what follows it."""

KINDS: tuple[str, ...] = get_args(Kind)
GENESIS = "0" * 64
"""Stands for the hash before the first entry."""


@dataclass(frozen=True, kw_only=True)
class Draft(Value):
    """A decision that is to be entered.

    Attributes:
        kind: what it is about.
        model: the registered model that it concerns.
        values: name -> id of the values that it was made from or led to.
        detail: figures and names that make the entry readable by itself; finite JSON.
        operation: names the decision; a second entry of the same operation is never made.
        flow_run: Prefect's id of the run.
        mlflow_run: MLflow's.
    """

    kind: Kind
    model: str
    values: dict[str, str] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    operation: str | None = None
    flow_run: str | None = None
    mlflow_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry(Draft):
    """A draft with its place: `seq` from 1, `previous` the hash of the entry before, `time` in UTC, `actor` who acted."""

    seq: int
    previous: str
    time: str
    actor: str


@dataclass(frozen=True, kw_only=True)
class Head(Value):
    """How far the ledger goes: its last entry's number and hash, its last checkpoint's hash. Replaced with every append."""

    seq: int
    hash: str
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Value):
    """A head that is kept for good, here and elsewhere; `previous` is the hash of the checkpoint before."""

    number: int
    previous: str
    seq: int
    hash: str
    time: str


@dataclass(frozen=True)
class Sealed:
    """A canonical JSON text with its SHA-256, the id of the key that signed it, and the Ed25519 signature in base64."""

    payload: str
    hash: str
    key: str
    signature: str

    @property
    def intact(self) -> bool:
        """Whether the hash is that of the text."""
        try:
            return hashlib.sha256(self.payload.encode()).hexdigest() == self.hash
        except UnicodeEncodeError:  # half a surrogate pair, which was never signed
            return False


@dataclass(frozen=True, kw_only=True)
class Aliases(Value):
    """The registered versions that a model's names stand for.

    `seq` is the entry that set them last, `champion_seq` the one that set the champion last (0: none did): what a
    promotion has to name as the state that it was decided on.
    """

    champion: int | None = None
    challenger: int | None = None
    previous: int | None = None
    seq: int = 0
    champion_seq: int = 0
