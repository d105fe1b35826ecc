"""Is a ledger as it was written? Numbers, hashes, signatures, checkpoints and the aliases' history, from the entries alone."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from abi.audit.entry import GENESIS, Sealed
from abi.audit.keys import read_public, signed_by
from abi.errors import AbiError, AuditBroken
from abi.values import Value

CHUNK: Final = 2_000
CHAMPION_KINDS: Final = ("promotion", "rollback")


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
    heads: Sequence[Sealed] = (),
    checkpoints: Sequence[Sealed] = (),
    kept: Sequence[Sealed] = (),
) -> Verified:
    """Go through a ledger from its first entry.

    Args:
        rows: all entries, in the order of their numbers.
        keys: id -> public keys that are trusted to begin with; entries of kind "key" add others and retire old ones.
        heads: signed heads: the ledger must reach at least as far as each.
        checkpoints: those stored with the ledger, in order; they too are a chain.
        kept: checkpoints that were kept elsewhere, in any order.

    Raises:
        AuditBroken: names the first entry that is not as it was written.
    """
    walk = _Walk(dict(keys))
    hashes: list[str] = []
    rows = iter(rows)
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(itertools.islice(rows, CHUNK)):
            step = -(-len(chunk) // workers)
            parts = [chunk[i : i + step] for i in range(0, len(chunk), step)]
            # keys that entries of this chunk bring are not known yet: what they signed is looked at again below
            signed = itertools.chain.from_iterable(pool.map(lambda part: _signatures(part, walk.keys), parts))
            for row, valid in zip(chunk, list(signed), strict=True):
                walk.step(row, valid or signed_by(row.sealed, walk.keys))
                hashes.append(row.sealed.hash)
    marks = _chain_of_checkpoints(checkpoints, walk)
    marks += [_read_mark(sealed, walk.seen, "a checkpoint") for sealed in itertools.chain(heads, kept)]
    for mark in sorted(marks, key=lambda mark: int(mark["seq"])):
        _hold(mark, hashes)
    return Verified(
        entries=len(hashes), hash=walk.previous, checkpoints=len(checkpoints), keys=tuple(sorted(walk.seen))
    )


def _signatures(rows: Sequence[Row], keys: Mapping[str, Ed25519PublicKey]) -> list[bool]:
    return [signed_by(row.sealed, keys) for row in rows]


class _Walk:
    """The state on the way through the chain."""

    def __init__(self, keys: dict[str, Ed25519PublicKey]) -> None:
        self.keys, self.seen = keys, dict(keys)
        self.number, self.previous = 0, GENESIS
        self.operations: dict[str, int] = {}
        self.champions: dict[str, int] = {}

    def step(self, row: Row, signed: bool) -> None:
        """Hold one entry against what came before it."""
        self.number += 1
        number, sealed = self.number, row.sealed
        place = row.columns.get("seq", number)
        if place != number:
            raise _broken(number, "is missing" if isinstance(place, int) and place > number else f"stands as {place}")
        if Sealed.digest(sealed.payload) != sealed.hash:
            raise _broken(number, "was changed: its content does not have its hash")
        if not signed:
            raise _broken(number, f"is not signed by a trusted key (it names {sealed.key})")
        entry = json.loads(sealed.payload)
        if entry.get("seq") != number:
            raise _broken(number, f"is another one, written as entry {entry.get('seq')}")
        if entry["previous"] != self.previous:
            raise _broken(number, "does not follow from the entry before it")
        for name, value in row.columns.items():
            if entry.get(name) != value:
                raise _broken(
                    number, f"was changed: the stored {name} is {value!r}, the signed one {entry.get(name)!r}"
                )
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
        self.keys[detail["id"]] = self.seen[detail["id"]] = added
        for retired in detail.get("retired", []):
            self.keys.pop(retired, None)


def _broken(number: int, what: str) -> AuditBroken:
    return AuditBroken(
        f"Expected the ledger as it was written, got another: entry {number} {what}. Compare it with an export or backup.",
        number,
    )


def _read_mark(sealed: Sealed, keys: Mapping[str, Ed25519PublicKey], what: str) -> dict[str, Any]:
    if Sealed.digest(sealed.payload) != sealed.hash or not signed_by(sealed, keys):
        seq = _seq(sealed)
        msg = f"Expected {what} as it was signed, got a changed one{f' (for entry {seq})' if seq is not None else ''}: compare it with one kept elsewhere."
        raise AuditBroken(msg, seq)
    mark: dict[str, Any] = json.loads(sealed.payload)
    return mark


def _seq(sealed: Sealed) -> int | None:
    try:
        return int(json.loads(sealed.payload)["seq"])
    except (ValueError, KeyError, TypeError):
        return None


def _chain_of_checkpoints(checkpoints: Sequence[Sealed], walk: _Walk) -> list[dict[str, Any]]:
    previous, marks = GENESIS, []
    for number, sealed in enumerate(checkpoints, 1):
        mark = _read_mark(sealed, walk.seen, f"checkpoint {number}")
        if mark.get("number") != number or mark.get("previous") != previous:
            msg = f"Expected checkpoint {number} of the ledger in its place, got one written as checkpoint {mark.get('number')} for entry {mark['seq']}: compare them with those kept elsewhere."
            raise AuditBroken(msg, mark["seq"])
        previous = sealed.hash
        marks.append(mark)
    return marks


def _hold(mark: dict[str, Any], hashes: Sequence[str]) -> None:
    seq = mark["seq"]
    if seq > len(hashes):
        first = len(hashes) + 1
        which = f"entry {first} is" if seq == first else f"entries {first} to {seq} are"
        msg = f"Expected the ledger as it was written, got another: {which} missing at its end (signed as far as {seq}). Restore them from an export or backup."
        raise AuditBroken(msg, first)
    if seq and hashes[seq - 1] != mark["hash"]:
        raise _broken(seq, "is not the one that was signed in a checkpoint")
