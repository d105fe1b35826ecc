"""The values of a report as the JSON that its page carries: each value once, by its id.

``{"report": {...}, "values": {id: {"kind": ..., "value": ...}}, "left_out": [...]}``, where a value inside another
one stands as ``{"$id": id}``. What does not fit the page is named in ``left_out`` and lies with the run. Texts come
with fewer terms (`abi.report.excerpt`): then ``report.excerpt`` says how many, and names the ids of the whole values.
Exhibits are there to be looked at: they are the first to be left out, and a report is read back without them.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from abi.documents import KINDS
from abi.errors import UsageError
from abi.report.content import Report
from abi.report.exhibits import Exhibits
from abi.types import TermScores
from abi.values import Value

STORED: dict[str, type[Value]] = {"Exhibits": Exhibits, "TermScores": TermScores, **KINDS}
"""The values that a page carries once each, by id, in the order of the chain."""

# late values decide and early ones are the largest, so the last kinds are kept first
_ORDER = tuple(reversed(STORED))
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def pack(report: Report, limit_bytes: int) -> str:
    """JSON text, safe inside a ``<script>`` element, of at most about `limit_bytes`."""
    values: dict[str, dict[str, Any]] = {}
    known: dict[int, str] = {}
    header = _fold(report, values, known)
    header.pop("config")
    wanted = [("config", "config", report.config)]
    wanted += [(v["kind"], key, v) for key, v in sorted(values.items(), key=lambda item: _rank(item[1], item[0]))]
    kept: dict[str, Any] = {}
    left_out: list[dict[str, Any]] = []
    room = limit_bytes - len(_text({"report": header})) - 200 * len(wanted)
    for kind, key, value in wanted:
        size = len(_text(value))
        if size <= room:
            room -= size
            kept[key] = value
        else:
            left_out.append({"kind": kind, "id": key, "bytes": size})
    if "config" in kept:
        header["config"] = kept.pop("config")
    return _text({"report": header, "values": kept, "left_out": left_out})


def unpack(text: str) -> Report:
    """Read back what `pack` wrote and hold each value against its id.

    Raises:
        UsageError: it is not such a document, was changed, or leaves other values than exhibits out.
    """
    try:
        plain = json.loads(text)
        left_out, header, stored = plain["left_out"], plain["report"], plain["values"]
    except (ValueError, KeyError, TypeError):
        msg = "Expected the JSON of an ABI report, got something else: give the page that `abi run` wrote."
        raise UsageError(msg) from None
    if any(one["kind"] == Exhibits.__name__ for one in left_out):
        header, left_out = header | {"exhibits": None}, [one for one in left_out if one["kind"] != Exhibits.__name__]
    if left_out:
        msg = f"Expected a report that carries all its values, got one that leaves out {len(left_out)} of them: read them from the run."
        raise UsageError(msg)
    known: dict[str, Value] = {}
    return Report.from_json(_unfold(header, stored, known))


def _rank(entry: dict[str, Any], key: str) -> tuple[int, str]:
    return _ORDER.index(entry["kind"]), key


def _fold(part: Any, values: dict[str, dict[str, Any]], known: dict[int, str]) -> Any:
    if isinstance(part, Value):
        kind = type(part).__name__
        if kind not in STORED:
            return {f.name: _fold(getattr(part, f.name), values, known) for f in fields(part)}  # type: ignore[arg-type]
        if id(part) not in known:
            known[id(part)] = part.id
            if part.id not in values:
                inner = {f.name: _fold(getattr(part, f.name), values, known) for f in fields(part)}  # type: ignore[arg-type]
                values[part.id] = {"kind": kind, "value": inner}
        return {"$id": known[id(part)]}
    if isinstance(part, dict):
        return {key: _fold(item, values, known) for key, item in part.items()}
    if isinstance(part, tuple | list):
        return [_fold(item, values, known) for item in part]
    return part


def _unfold(plain: Any, stored: dict[str, Any], known: dict[str, Value]) -> Any:
    if isinstance(plain, dict):
        if set(plain) == {"$id"}:
            return _value(str(plain["$id"]), stored, known)
        return {key: _unfold(item, stored, known) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_unfold(item, stored, known) for item in plain]
    return plain


def _value(key: str, stored: dict[str, Any], known: dict[str, Value]) -> Value:
    if key not in known:
        entry = stored.get(key, {})
        if entry.get("kind") not in STORED:
            msg = f"Expected the value {key[:12]} in the report, found none: the page was changed after it was written."
            raise UsageError(msg)
        value = STORED[entry["kind"]].from_json(_unfold(entry["value"], stored, known))
        if value.id != key:
            msg = f"Expected the content of {entry['kind']} {key[:12]} unchanged, got other content: the page was changed after it was written."
            raise UsageError(msg)
        known[key] = value
    return known[key]


def _text(plain: object) -> str:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
