"""Verify an exported ledger with Python's standard library and `cryptography` alone.

    python verify_export.py ledger.jsonl ledger.pub.pem

Each line of the export is an object: a signed text (`payload`), its SHA-256, the id of the key and the Ed25519 signature.
Exit 0 where all is as it was written, 6 where it is not (the first bad entry is named), 2 for wrong arguments.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def key_id(key: Any) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def fail(sentence: str) -> NoReturn:
    print(f"BROKEN: {sentence}")
    raise SystemExit(6)


def opened(line: dict[str, Any], keys: dict[str, Any], what: str) -> dict[str, Any]:
    try:
        payload, signature = line["payload"].encode(), base64.b64decode(line["signature"], validate=True)
        if hashlib.sha256(payload).hexdigest() != line["hash"]:
            fail(f"{what} was changed: its content does not have its hash")
        keys[line["key"]].verify(signature, payload)
        if base64.b64encode(signature).decode() != line["signature"]:
            fail(f"{what} has its signature written in another way")
    except (KeyError, ValueError, TypeError, AttributeError, InvalidSignature):
        fail(f"{what} is not signed by a trusted key (it names {line.get('key')})")
    return json.loads(payload)  # type: ignore[no-any-return]


def verify(lines: list[str], public_pem: bytes) -> tuple[int, int]:
    key = load_pem_public_key(public_pem)
    trusted: dict[str, Any] = {key_id(key): key}
    seen = dict(trusted)  # retired keys still sign what they signed
    hashes, marks, operations, champions = ["0" * 64], ["0" * 64], set[str](), dict[str, int]()
    retired = dict[str, int]()  # by the entry of that number
    number, ends = 0, list[dict[str, Any]]()
    for text in lines:
        try:
            line = json.loads(text)
            if ends:
                fail(f"a line stands behind the end: entry {number + 1} or a checkpoint was put in")
            if line["type"] == "entry":
                number += 1
                entry = opened(line, trusted, f"entry {number}")
                if entry["seq"] != number or len(marks) > 1:
                    fail(f"entry {number} is missing or moved (entry {entry['seq']} stands in its place)")
                if entry["previous"] != hashes[-1]:
                    fail(f"entry {number} does not follow from the entry before it")
                if entry["operation"] in operations:
                    fail(f"entry {number} repeats an operation")
                operations.add(entry["operation"])
                if entry["kind"] in ("promotion", "rollback"):
                    if entry["detail"].get("replaces") != champions.get(entry["model"], 0):
                        fail(f"entry {number} sets a champion in place of another one than held")
                    champions[entry["model"]] = number
                if entry["kind"] == "key":
                    added = load_pem_public_key(entry["detail"]["public_key"].encode())
                    trusted[key_id(added)] = seen[key_id(added)] = added
                    retired |= dict.fromkeys(entry["detail"].get("retired", []), number)
                    trusted = {name: k for name, k in trusted.items() if name not in entry["detail"].get("retired", [])}
                hashes.append(line["hash"])
                continue
            what = f"checkpoint {len(marks)}" if line["type"] == "checkpoint" else "the end"
            mark = opened(line, seen, f"{what} (entries from {number + 1} on may be missing)")
            if mark["seq"] > retired.get(line["key"], mark["seq"]):
                fail(f"{what} is signed by a key that was retired: entries from {number + 1} on may be missing")
            if mark["seq"] > number:
                fail(f"entry {number + 1} is missing: the ledger was signed as far as {mark['seq']}")
            if hashes[mark["seq"]] != mark["hash"]:
                fail(f"entry {mark['seq']} is not the one that was signed in a checkpoint")
            if line["type"] == "head":
                ends.append(mark)
            elif (mark["number"], mark["previous"]) != (len(marks), marks[-1]):
                fail(f"checkpoint {len(marks)} (for entry {mark['seq']}) is missing or moved")
            else:
                marks.append(line["hash"])
        except (KeyError, ValueError, TypeError, AttributeError, IndexError):
            fail(f"entry {number + (not marks[1:])} or a line near it is not what was exported: {text[:60]!r}")
    if not ends or (ends[0]["seq"], ends[0].get("checkpoint")) != (number, marks[-1]):
        fail(f"the signed end is missing or another one: entries from {ends[0]['seq'] + 1 if ends else number + 1} on")
    return number, len(marks) - 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__)
        raise SystemExit(2)
    try:
        with open(sys.argv[1], encoding="utf-8", errors="replace") as export, open(sys.argv[2], "rb") as pem:
            lines, public = list(export), pem.read()
        key_id(load_pem_public_key(public))
    except (OSError, ValueError, AttributeError) as error:
        print(f"Expected an export and the ledger's Ed25519 public key (PEM), got {' '.join(sys.argv[1:])}: {error}")
        raise SystemExit(2) from None
    count, signed = verify(lines, public)
    print(f"OK: {count} entries, {signed} checkpoints, as they were written")
