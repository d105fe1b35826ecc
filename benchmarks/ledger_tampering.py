"""Ledgers in memory, and what somebody who can write to the store could do to them: each case names the first bad entry."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from abi.audit.chain import Row, Verified, verify
from abi.audit.entry import GENESIS, Checkpoint, Entry, Head, Sealed
from abi.audit.keys import Signer

COLUMNS = ("seq", "kind", "model", "time", "operation")
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@dataclass(frozen=True)
class Store:
    """All that is stored of a ledger, and what was kept elsewhere."""

    rows: tuple[Row, ...]
    checkpoints: tuple[Sealed, ...]
    head: Sealed | None
    kept: tuple[Sealed, ...]
    keys: Mapping[str, Ed25519PublicKey]

    def verify(self) -> Verified:
        """Entries come as a store sorts them, by their stored number."""
        rows = sorted(self.rows, key=lambda row: int(str(row.columns["seq"])))
        return verify(rows, self.keys, head=self.head, checkpoints=self.checkpoints, kept=self.kept)


@dataclass(frozen=True)
class World:
    """A true ledger, what it was after each entry, the keys of its past, and another ledger of the same keys."""

    true: Store
    past: tuple[tuple[tuple[Sealed, ...], Sealed], ...]
    """After each entry: checkpoints and head."""
    signers: tuple[Signer, Signer]
    rotated: int
    other: Store


@dataclass(frozen=True)
class Case:
    """A tampered store."""

    what: str
    store: Store
    entry: int | None
    """The first bad one; None where none is (a copy kept elsewhere was damaged)."""


def build_world(count: int = 30, every: int = 7) -> World:
    """A ledger with promotions and a rotation of keys in its middle."""
    signers = (Signer.new(), Signer.new())
    true, past = build(signers, count, every, "one")
    other, _ = build(signers, count, every, "two")
    return World(true, past, signers, count // 2, other)


def build(
    signers: tuple[Signer, Signer], count: int, every: int, salt: str
) -> tuple[Store, tuple[tuple[tuple[Sealed, ...], Sealed], ...]]:
    """A ledger, and its checkpoints and head after each entry."""
    rows, marks, past = list[Row](), list[Sealed](), []
    previous, champion = GENESIS, 0
    for seq in range(1, count + 1):
        signer = signers[seq > count // 2]
        kind, detail = "scores", {"salt": salt, "figure": seq / 7}
        if seq in (1, count // 2):
            new = signers[seq > 1]
            retired = {"retired": [signers[0].id]} if seq > 1 else {}
            kind, detail = "key", {"id": new.id, "public_key": new.public_pem().decode(), **retired}
        elif seq % 5 == 0:
            kind, detail, champion = "promotion", {"replaces": champion, "salt": salt}, seq
        entry = Entry(
            kind=kind,  # type: ignore[arg-type]
            model="" if kind == "key" else "churn",
            values={"scores": f"{seq:064x}"},
            detail=detail,
            operation=f"{salt}:{seq}",
            seq=seq,
            previous=previous,
            time=f"2026-01-01T00:00:{seq % 60:02d}.000000Z",
            actor="ann@desk",
        )
        sealed = signer.seal(entry)
        rows.append(Row(sealed, {name: getattr(entry, name) for name in COLUMNS}))
        previous = sealed.hash
        if seq % every == 0:
            before = marks[-1].hash if marks else GENESIS
            made = Checkpoint(
                number=len(marks) + 1, previous=before, seq=seq, hash=previous, time="2026-01-01T00:00:00Z"
            )
            marks.append(signer.seal(made))
        head = signer.seal(Head(seq=seq, hash=previous, checkpoint=marks[-1].hash if marks else GENESIS))
        past.append((tuple(marks), head))
    keys = {signers[0].id: signers[0].private.public_key()}
    return Store(tuple(rows), tuple(marks), past[-1][1], (*marks, past[-1][1]), keys), tuple(past)


class Tamperer:
    """Makes one case after another from a seed."""

    def __init__(self, world: World, seed: int, *, stored_only: bool = False) -> None:
        self.world, self.random = world, random.Random(seed)  # noqa: S311 - no secret
        self.size = len(world.true.rows)
        self.mallory = Signer.new()
        self.entry_kinds: list[Callable[[], Case]] = [
            self.payload, self.payload_and_hash, self.seal, self.forged, self.retired_key,
            self.delete, self.delete_range, self.swap, self.reorder, self.truncate, self.set_back, self.insert_forged,
            self.insert_replayed, self.replayed_from_other, self.appended,
        ]  # fmt: skip
        self.mark_kinds: list[Callable[[], Case]] = [
            self.checkpoint, self.checkpoint_deleted, self.checkpoints_swapped, self.checkpoint_of_other,
            self.head, self.head_set_back, self.head_of_other, self.head_is_checkpoint, self.no_head,
        ]  # fmt: skip
        if not stored_only:
            self.entry_kinds += [self.column, self.column_and_payload, self.number]
            self.mark_kinds += [self.kept, self.kept_of_other, self.other_ledger, self.other_key]

    def case(self) -> Case:
        """The next one."""
        return self.random.choice(self.entry_kinds + self.mark_kinds)()

    def _any(self, low: int = 1, high: int | None = None) -> int:
        return self.random.randint(low, high or self.size)

    def _row(self, seq: int) -> Row:
        return self.world.true.rows[seq - 1]

    def _with(self, what: str, seq: int, sealed: Sealed | None = None, /, **columns: object) -> Case:
        row = self._row(seq)
        changed = Row(sealed or row.sealed, {**row.columns, **columns})
        rows = self.world.true.rows
        return Case(what, replace(self.world.true, rows=(*rows[: seq - 1], changed, *rows[seq:])), seq)

    def _numbered(self, what: str, rows: list[Row], entry: int) -> Case:
        """Rows whose stored numbers fit their new places, as a careful attacker would have it."""
        placed = [Row(row.sealed, {**row.columns, "seq": i}) for i, row in enumerate(rows, 1)]
        return Case(what, replace(self.world.true, rows=tuple(placed)), entry)

    def _character(self, text: str, alphabet: str) -> str:
        place = self.random.randrange(len(text))
        return text[:place] + self.random.choice(alphabet.replace(text[place], "")) + text[place + 1 :]

    def _broken_seal(self, sealed: Sealed) -> Sealed:
        name = self.random.choice(("hash", "key", "signature"))
        if name != "signature":
            return replace(sealed, **{name: self._character(getattr(sealed, name), "0123456789abcdef")})
        text = sealed.signature
        slack = text[:-3] + BASE64[BASE64.index(text[-3]) ^ self.random.randint(1, 15)] + "=="  # decodes to the same
        return replace(sealed, signature=self.random.choice((slack, self._character(text[:-2], BASE64) + "==")))

    def _forged(self, sealed: Sealed, signer: Signer, name: str | None = None) -> Sealed:
        payload = self._edited(sealed.payload)
        signature = base64.b64encode(signer.private.sign(payload.encode())).decode()
        return _hashed(Sealed(payload, "", name or signer.id, signature))

    def _edited(self, payload: str) -> str:
        if '"kind":' not in payload:  # a checkpoint or head: another hash
            start, name, rest = payload.rpartition('"hash":"')
            return start + name + self._character(rest[:64], "0123456789abcdef") + rest[64:]
        return self.random.choice((payload.replace("desk", "dusk"), self._character(payload, "0123456789abcdef")))

    # entries
    def column(self) -> Case:
        """A stored copy of a field."""
        name = self.random.choice(COLUMNS[1:])
        return self._with(f"column {name}", self._any(), **{name: self.random.choice(("another", None, 7))})

    def number(self) -> Case:
        """The stored number: behind the end, or before the beginning, where nobody looks."""
        seq, place = self._any(), self.random.choice((self.size + 9, 0, -3))
        return replace(self._with("number", seq, seq=place), entry=min(seq, place))

    def column_and_payload(self) -> Case:
        """Both in the same way."""
        seq = self._any()
        sealed = self._row(seq).sealed
        payload = sealed.payload.replace('"actor":', '"model":"x","actor":', 1)
        return self._with("column and payload", seq, _hashed(replace(sealed, payload=payload)), model="x")

    def payload(self) -> Case:
        """The text alone."""
        seq = self._any()
        sealed = self._row(seq).sealed
        return self._with("payload", seq, replace(sealed, payload=self._edited(sealed.payload)))

    def payload_and_hash(self) -> Case:
        """The text, and a hash that fits."""
        seq = self._any()
        sealed = self._row(seq).sealed
        return self._with("payload and hash", seq, _hashed(replace(sealed, payload=self._edited(sealed.payload))))

    def seal(self) -> Case:
        """Hash, key or signature."""
        seq = self._any()
        return self._with("seal", seq, self._broken_seal(self._row(seq).sealed))

    def forged(self) -> Case:
        """Signed by a key of the attacker's, under its own or the true name."""
        seq = self._any()
        sealed = self._row(seq).sealed
        return self._with("forged", seq, self._forged(sealed, self.mallory, self.random.choice((None, sealed.key))))

    def retired_key(self) -> Case:
        """Signed by a key that was true once."""
        seq = self._any(self.world.rotated + 1)
        old = self.world.signers[0]
        payload = self._row(seq).sealed.payload.replace("ann", "eve")
        signature = base64.b64encode(old.private.sign(payload.encode())).decode()
        return self._with("retired key", seq, _hashed(Sealed(payload, "", old.id, signature)))

    def delete(self) -> Case:
        """One entry: the first, the last, or any; later ones keep their numbers or close up."""
        seq = self.random.choice((1, self.size, self._any()))
        return self._without("delete", seq, seq)

    def delete_range(self) -> Case:
        """Several."""
        first, last = sorted((self._any(), self._any()))
        return self._without("delete range", first, last)

    def _without(self, what: str, first: int, last: int) -> Case:
        rows = [row for i, row in enumerate(self.world.true.rows, 1) if not first <= i <= last]
        if self.random.random() < 0.5:
            return self._numbered(what, rows, first)
        return Case(what, replace(self.world.true, rows=tuple(rows)), first)

    def swap(self) -> Case:
        """Two entries: whole, or their texts."""
        i, j = sorted(self.random.sample(range(1, self.size + 1), 2))
        rows = list(self.world.true.rows)
        rows[i - 1], rows[j - 1] = rows[j - 1], rows[i - 1]
        if self.random.random() < 0.5:
            return self._numbered("swap", rows, i)
        texts = [Row(row.sealed, true.columns) for row, true in zip(rows, self.world.true.rows, strict=True)]
        return Case("swap of texts", replace(self.world.true, rows=tuple(texts)), i)

    def reorder(self) -> Case:
        """A range, shifted round."""
        first, last = sorted(self.random.sample(range(1, self.size + 1), 2))
        rows = list(self.world.true.rows)
        rows[first - 1 : last] = [*rows[first:last], rows[first - 1]]
        return self._numbered("reorder", rows, first)

    def truncate(self) -> Case:
        """The end is cut off."""
        left = self._any(0, self.size - 1) if self.random.random() < 0.9 else 0
        return Case("truncate", replace(self.world.true, rows=self.world.true.rows[:left]), left + 1)

    def set_back(self) -> Case:
        """The end is cut off, and head or checkpoints or both are as they once were."""
        left = self._any(1, self.size - 1)
        marks, head = self.world.past[left - 1]
        store = replace(self.world.true, rows=self.world.true.rows[:left], head=head)
        if self.random.random() < 0.7:
            store = replace(store, checkpoints=marks)
        return Case("set back", store, left + 1)

    def insert_forged(self) -> Case:
        """An entry of the attacker's between others."""
        seq = self._any()
        rows = list(self.world.true.rows)
        rows.insert(seq - 1, Row(self._forged(self._row(seq).sealed, self.mallory), self._row(seq).columns))
        return self._numbered("insert forged", rows, seq)

    def insert_replayed(self) -> Case:
        """A true entry, a second time."""
        seq, source = self.random.sample(range(1, self.size + 1), 2)
        rows = list(self.world.true.rows)
        rows.insert(seq - 1, self._row(source))
        return self._numbered("insert replayed", rows, seq)

    def replayed_from_other(self) -> Case:
        """The entry of that number from another ledger of the same keys."""
        seq = self._any(2)
        row = self.world.other.rows[seq - 1]
        return self._with("replayed from another ledger", seq, row.sealed, **row.columns)

    def appended(self) -> Case:
        """A true entry, or a forged one, behind the end."""
        seq = self.size + 1
        source = self._row(self._any())
        sealed = self.random.choice((source.sealed, self._forged(source.sealed, self.mallory)))
        return self._numbered("appended", [*self.world.true.rows, Row(sealed, source.columns)], seq)

    # checkpoints and head
    def _vouched(self, number: int) -> int:
        """The first entry that a checkpoint is the first to stand for."""
        marks = self.world.true.checkpoints
        return 1 if number == 1 else Checkpoint.from_json(_plain(marks[number - 2])).seq + 1

    def _marks(self, what: str, marks: list[Sealed], number: int) -> Case:
        return Case(what, replace(self.world.true, checkpoints=tuple(marks)), self._vouched(number))

    def checkpoint(self) -> Case:
        """One is edited."""
        marks = list(self.world.true.checkpoints)
        number = self._any(1, len(marks))
        sealed = marks[number - 1]
        edited = (
            self._broken_seal(sealed),
            self._forged(sealed, self.mallory),
            replace(sealed, payload=self._character(sealed.payload, "01")),
        )
        marks[number - 1] = self.random.choice(edited)
        return self._marks("checkpoint", marks, number)

    def checkpoint_deleted(self) -> Case:
        """One is gone."""
        marks = list(self.world.true.checkpoints)
        number = self._any(1, len(marks))
        del marks[number - 1]
        return self._marks("checkpoint deleted", marks, number)

    def checkpoints_swapped(self) -> Case:
        """Two are."""
        marks = list(self.world.true.checkpoints)
        i, j = sorted(self.random.sample(range(1, len(marks) + 1), 2))
        marks[i - 1], marks[j - 1] = marks[j - 1], marks[i - 1]
        return self._marks("checkpoints swapped", marks, i)

    def checkpoint_of_other(self) -> Case:
        """The one of that number from another ledger of the same keys."""
        marks = list(self.world.true.checkpoints)
        number = self._any(2, len(marks))
        marks[number - 1] = self.world.other.checkpoints[number - 1]
        return self._marks("checkpoint of another ledger", marks, number)

    def head(self) -> Case:
        """It is edited."""
        true = self.world.true.head
        assert true is not None
        head = self.random.choice((self._broken_seal(true), self._forged(true, self.mallory)))
        return Case("head", replace(self.world.true, head=head), self.size + 1)

    def head_set_back(self) -> Case:
        """It is as it once was."""
        left = self._any(1, self.size - 1)
        return Case("head set back", replace(self.world.true, head=self.world.past[left - 1][1]), left + 1)

    def head_of_other(self) -> Case:
        """It is that of another ledger of the same keys and length."""
        return Case("head of another ledger", replace(self.world.true, head=self.world.other.head), self.size)

    def head_is_checkpoint(self) -> Case:
        """A checkpoint stands in its place."""
        mark = self.random.choice(self.world.true.checkpoints)
        return Case("head is a checkpoint", replace(self.world.true, head=mark), self.size + 1)

    def no_head(self) -> Case:
        """It is gone."""
        return Case("no head", replace(self.world.true, head=None), self.size + 1)

    def kept(self) -> Case:
        """A copy elsewhere is edited."""
        kept = list(self.world.true.kept)
        place = self.random.randrange(len(kept))
        kept[place] = self._broken_seal(kept[place])
        return Case("kept", replace(self.world.true, kept=tuple(kept)), None)

    def kept_of_other(self) -> Case:
        """The copies elsewhere are another ledger's."""
        first: int = Checkpoint.from_json(_plain(self.world.true.checkpoints[0])).seq
        return Case("kept of another ledger", replace(self.world.true, kept=self.world.other.kept), first)

    def other_ledger(self) -> Case:
        """All that is stored is another ledger's, of the same keys; only what was kept elsewhere tells."""
        first: int = Checkpoint.from_json(_plain(self.world.true.checkpoints[0])).seq
        return Case("another ledger", replace(self.world.other, kept=self.world.true.kept), first)

    def other_key(self) -> Case:
        """The key to trust is another one."""
        keys = {self.mallory.id: self.mallory.private.public_key()}
        return Case("another key", replace(self.world.true, keys=keys), 1)


def _hashed(sealed: Sealed) -> Sealed:
    return replace(sealed, hash=hashlib.sha256(sealed.payload.encode()).hexdigest())


def _plain(sealed: Sealed) -> Any:
    return json.loads(sealed.payload)
