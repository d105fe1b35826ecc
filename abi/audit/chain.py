"""Is a ledger as it was written? Numbers, hashes, signatures, checkpoints and the aliases' history, from the entries alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from abi.audit.entry import GENESIS, Checkpoint, Entry, Head, Sealed
from abi.audit.keys import key_id, read_public, signed_by
from abi.errors import AbiError, AuditBroken
from abi.values import Value

CHAMPION_KINDS: Final = ("promotion", "rollback")
ENTRY, CHECKPOINT, HEAD = (frozenset(kind.__dataclass_fields__) for kind in (Entry, Checkpoint, Head))


@dataclass(frozen=True)
class Row:
    """A sealed entry as a store gives it back: `columns` are copies of the entry's fields that the store searches by."""

    sealed: Sealed
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verified(Value):
    """What a whole ledger came to."""

    entries: int
    hash: str
    checkpoints: int
    keys: tuple[str, ...]


def verify(
    rows: Iterable[Row],
    keys: Mapping[str, Ed25519PublicKey],
    *,
    head: Sealed | None,
    checkpoints: Sequence[Sealed] = (),
    kept: Sequence[Sealed] = (),
) -> Verified:
    """Go through a ledger from its first entry.

    Args:
        rows: all entries, in the order of their numbers.
        keys: id -> public keys that are trusted to begin with; entries of kind "key" add others and retire old ones.
        head: the signed head, read together with the rows: the ledger ends exactly there.
        checkpoints: those stored with the ledger, in order; they too are a chain.
        kept: checkpoints and heads that were kept elsewhere, in any order.

    Raises:
        AuditBroken: names the first entry that is not as it was written.
    """
    walk = _Walk(dict(keys))
    hashes: list[str] = []
    for row in rows:
        walk.step(row)
        hashes.append(row.sealed.hash)
    stored = _chain_of_checkpoints(checkpoints, walk)
    others = [_read_mark(sealed, walk, "a kept checkpoint") for sealed in kept]
    last = _read_head(head, walk, hashes)
    for mark in sorted([*stored, *others, last], key=lambda mark: int(mark["seq"])):
        _hold(mark, hashes)
    if last["seq"] < len(hashes):
        raise _broken(last["seq"] + 1, "stands behind the signed end of the ledger")
    _hold_checkpoints(checkpoints, stored, others, last["checkpoint"])
    return Verified(
        entries=len(hashes), hash=walk.previous, checkpoints=len(checkpoints), keys=tuple(sorted(walk.seen))
    )


class _Walk:
    """The state on the way through the chain.

    `keys` sign from here on, `seen` are all that ever did, `retired` has the entry that ended each of the others.
    """

    def __init__(self, keys: dict[str, Ed25519PublicKey]) -> None:
        self.keys, self.seen, self.retired = keys, dict(keys), dict[str, int]()
        self.number, self.previous = 0, GENESIS
        self.operations: dict[str, int] = {}
        self.champions: dict[str, int] = {}

    def step(self, row: Row) -> None:
        """Hold one entry against what came before it."""
        self.number += 1
        number, sealed = self.number, row.sealed
        place = row.columns.get("seq", number)
        if place != number:
            raise _misplaced(number, place)
        if not sealed.intact:
            raise _broken(number, "was changed: its content does not have its hash")
        if not signed_by(sealed, self.keys):
            raise _broken(number, f"is not signed by a trusted key (it names {sealed.key})")
        entry = json.loads(sealed.payload)
        if ENTRY - entry.keys():
            raise _broken(number, "was replaced by something else that was signed")
        if entry["seq"] != number:
            raise _broken(number, f"is another one, written as entry {entry['seq']}")
        if entry["previous"] != self.previous:
            raise _broken(number, "does not follow from the entry before it")
        for name, value in row.columns.items():
            if entry[name] != value:
                raise _broken(number, f"was changed: the stored {name} is {value!r}, the signed one {entry[name]!r}")
        operation = entry["operation"]
        if operation is not None and self.operations.setdefault(operation, number) != number:
            raise _broken(number, f"repeats the operation of entry {self.operations[operation]}")
        self._aliases(number, entry)
        if entry["kind"] == "key":
            self._key(number, entry["detail"])
        self.previous = sealed.hash

    def _aliases(self, number: int, entry: dict[str, Any]) -> None:
        """A champion is set by somebody who knew the one before."""
        if entry["kind"] in CHAMPION_KINDS:
            last, named = self.champions.get(entry["model"], 0), entry["detail"].get("replaces")
            if named != last:
                raise _broken(number, f"sets a champion in place of entry {named}, where entry {last} held")
            self.champions[entry["model"]] = number

    def _key(self, number: int, detail: dict[str, Any]) -> None:
        try:
            added = read_public(str(detail["public_key"]).encode(), f"entry {number}")
        except (KeyError, AbiError):
            raise _broken(number, "brings a key that cannot be read") from None
        if key_id(added) != detail.get("id"):
            raise _broken(number, "brings a key under another one's name")
        self.keys[detail["id"]] = self.seen[detail["id"]] = added
        self.retired.pop(detail["id"], None)
        for retired in detail.get("retired", []):
            self.keys.pop(retired, None)
            self.retired[retired] = number


def _misplaced(number: int, place: object) -> AuditBroken:
    if not isinstance(place, int):
        return _broken(number, f"was changed: its number is {place!r}")
    return _broken(number, "is missing") if place > number else _broken(place, "was put in")


def _broken(number: int, what: str) -> AuditBroken:
    return AuditBroken(
        f"Expected the ledger as it was written, got another: entry {number} {what}. Compare it with an export or backup.",
        number,
    )


def _chain_of_checkpoints(checkpoints: Sequence[Sealed], walk: _Walk) -> list[dict[str, Any]]:
    previous, marks, after = GENESIS, list[dict[str, Any]](), 1
    for number, sealed in enumerate(checkpoints, 1):
        mark = _read_mark(sealed, walk, f"checkpoint {number}", after)
        if mark.get("number") != number or mark.get("previous") != previous:
            msg = f"Expected checkpoint {number} of the ledger (from entry {after} on) in its place, got another one: compare it with those kept elsewhere."
            raise AuditBroken(msg, after)
        previous, after = sealed.hash, mark["seq"] + 1
        marks.append(mark)
    return marks


def _read_mark(sealed: Sealed, walk: _Walk, what: str, after: int | None = None) -> dict[str, Any]:
    if sealed.intact and signed_by(sealed, walk.seen):
        mark: dict[str, Any] = json.loads(sealed.payload)
        if mark.keys() in (CHECKPOINT, HEAD) and isinstance(mark["seq"], int):
            ended = walk.retired.get(sealed.key, mark["seq"])
            if mark["seq"] <= ended:
                return mark
            msg = f"Expected {what} (of entry {mark['seq']}) signed by a key that held there, got {sealed.key}, which entry {ended} retired: entries from {after or ended + 1} on may be missing. Restore them from an export or backup."
            raise AuditBroken(msg, after or ended + 1)
    if sealed.intact and sealed.key not in walk.seen and _claimed(sealed) > walk.number:
        first = walk.number + 1
        msg = f"Expected {what} signed by a key of the ledger, got key {sealed.key}: entries from {first} on are missing, with the one that brought it, or it was forged. Restore them from an export or backup."
        raise AuditBroken(msg, first)
    where = "" if after is None else f" (from entry {after} on)"
    msg = f"Expected {what}{where} as it was signed, got a changed one: compare it with one kept elsewhere."
    raise AuditBroken(msg, after)


def _claimed(sealed: Sealed) -> int:
    """How far a text that nobody vouches for says that the ledger went."""
    try:
        return int(json.loads(sealed.payload)["seq"])
    except (ValueError, KeyError, TypeError):
        return 0


def _read_head(head: Sealed | None, walk: _Walk, hashes: Sequence[str]) -> dict[str, Any]:
    after = len(hashes) + 1
    if head is None:
        msg = f"Expected the signed end of the ledger, found none: entries from {after} on may be missing. Restore it from an export or backup."
        raise AuditBroken(msg, after)
    mark = _read_mark(head, walk, "the end of the ledger", after)
    if mark.keys() != HEAD:
        msg = f"Expected the signed end of the ledger, got a checkpoint in its place: entries from {after} on may be missing. Restore it from an export or backup."
        raise AuditBroken(msg, after)
    return mark


def _hold(mark: dict[str, Any], hashes: Sequence[str]) -> None:
    """Hold the entries against a signed number and hash."""
    seq = mark["seq"]
    if seq > len(hashes):
        first = len(hashes) + 1
        which = f"entry {first} is" if seq == first else f"entries {first} to {seq} are"
        msg = f"Expected the ledger as it was written, got another: {which} missing at its end (signed as far as {seq}). Restore them from an export or backup."
        raise AuditBroken(msg, first)
    if seq and hashes[seq - 1] != mark["hash"]:
        raise _broken(seq, "(or one before it) is not the one that was signed in a checkpoint")


def _hold_checkpoints(
    checkpoints: Sequence[Sealed], marks: Sequence[dict[str, Any]], kept: Sequence[dict[str, Any]], last: str
) -> None:
    """Hold the stored checkpoints, a sound chain already, against those kept elsewhere and the one that the head names."""
    present = {mark["number"]: mark for mark in marks}
    missing = [mark["number"] for mark in kept if "number" in mark and present.get(mark["number"]) != mark]
    if not missing and (checkpoints[-1].hash if checkpoints else GENESIS) != last:
        missing = [len(checkpoints) + 1]
    if missing:
        number = min(missing)
        after = present[number - 1]["seq"] + 1 if number - 1 in present else 1
        msg = f"Expected checkpoint {number} of the ledger (from entry {after} on) as it was signed, found none or another one: restore it from where else it was kept."
        raise AuditBroken(msg, after)
