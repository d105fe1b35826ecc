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


def opened(line: dict[str, str], keys: dict[str, Any], what: str) -> dict[str, Any]:
    """The signed text of a line, as JSON."""
    payload = line["payload"].encode()
    if hashlib.sha256(payload).hexdigest() != line["hash"]:
        fail(f"{what} was changed: its content does not have its hash")
    try:
        keys[line["key"]].verify(base64.b64decode(line["signature"], validate=True), payload)
    except (KeyError, ValueError, InvalidSignature):
        fail(f"{what} is not signed by a trusted key (it names {line['key']})")
    found: dict[str, Any] = json.loads(payload)
    return found


def verify(lines: list[str], public_pem: bytes) -> tuple[int, int]:
    key = load_pem_public_key(public_pem)
    trusted: dict[str, Any] = {key_id(key): key}
    seen = dict(trusted)  # retired keys still sign what they signed
    previous, number, last_mark, mark_number = "0" * 64, 0, "0" * 64, 0
    hashes, operations, champions, marks = [""], set[str](), dict[str, int](), list[dict[str, Any]]()
    for text in lines:
        line = json.loads(text)
        if line["type"] == "entry":
            number += 1
            entry = opened(line, trusted, f"entry {number}")
            if entry["seq"] != number:
                fail(f"entry {number} is missing or moved (entry {entry['seq']} stands in its place)")
            if entry["previous"] != previous:
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
                for retired in entry["detail"].get("retired", []):
                    trusted.pop(retired, None)
            previous = line["hash"]
            hashes.append(previous)
        else:
            mark = opened(line, seen, f"a {line['type']}")
            if line["type"] == "checkpoint":
                mark_number += 1
                if (mark["number"], mark["previous"]) != (mark_number, last_mark):
                    fail(f"checkpoint {mark_number} (for entry {mark['seq']}) is missing or moved")
                last_mark = line["hash"]
            marks.append(mark)
    for mark in sorted(marks, key=lambda mark: mark["seq"]):
        if mark["seq"] > number:
            fail(f"entry {number + 1} is missing: the ledger was signed as far as {mark['seq']}")
        if mark["seq"] and hashes[mark["seq"]] != mark["hash"]:
            fail(f"entry {mark['seq']} is not the one that was signed in a checkpoint")
    if not any(json.loads(text)["type"] == "head" for text in lines):
        fail(f"the signed head is missing: entries after {number} may be too")
    return number, len(marks)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__)
        raise SystemExit(2)
    with open(sys.argv[1], encoding="utf-8") as export, open(sys.argv[2], "rb") as pem:
        count, signed = verify(export.read().splitlines(), pem.read())
    print(f"OK: {count} entries, {signed} checkpoints, as they were written")
