"""The JSON document that a stage prints and the next one reads: a value with its kind and its id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import rfc8785

from abi.adapted import Adapted
from abi.errors import UsageError
from abi.monitored import Drift, Reference
from abi.outcomes import Conditions, Evaluation, Move, Source, Trained
from abi.problem import Checks, Problem, Snapshot
from abi.types import Attention, Plan, Scores
from abi.values import Value

KINDS: dict[str, type[Value]] = {
    kind.__name__: kind
    for kind in (
        Snapshot,
        Problem,
        Checks,
        Scores,
        Attention,
        Plan,
        Trained,
        Move,
        Evaluation,
        Conditions,
        Reference,
        Drift,
        Source,
        Adapted,
    )
}


def document(value: Value) -> dict[str, Any]:
    """The JSON document that a stage prints and the next one reads."""
    return {"kind": type(value).__name__, "id": value.id, "value": value.to_json()}


def document_bytes(value: Value) -> bytes:
    """RFC 8785 form of `document(value)`."""
    content = value.written.encode()
    return f'{{"id":"{value.id}","kind":"{type(value).__name__}","value":'.encode() + content + b"}"


def read_document(plain: object, kinds: Mapping[str, type[Value]] = KINDS) -> Value:
    """Read a document that `document` made, one of these kinds, and hold its content against its id.

    Raises:
        UsageError: it is none, or was changed after it was written.
    """
    if not (isinstance(plain, dict) and isinstance(plain.get("kind"), str) and plain["kind"] in kinds):
        got = repr(plain.get("kind")) if isinstance(plain, dict) else type(plain).__name__
        remedy = "print one with `abi score`, `abi fit` or `abi plan` and --json"
        if isinstance(plain, dict) and "plan" in plain and "model" in plain:
            got, remedy = (
                "what `abi run` printed",
                "give the stage's own document, or ask `abi explain` and `abi diff` about the run",
            )
        msg = f"Expected a document that an `abi` stage printed with --json ({', '.join(kinds)}), got {got}: {remedy}."
        raise UsageError(msg)
    value = kinds[plain["kind"]].from_json(plain.get("value"))
    try:
        unchanged = value.id == plain.get("id")
    except rfc8785.CanonicalizationError:  # NaN or an integer past 2^53, which `document` never writes
        unchanged = False
    if not unchanged:
        msg = f"Expected the content of {plain['kind']} {str(plain.get('id'))[:12]} unchanged, got other content: run the stage that wrote it again."
        raise UsageError(msg)
    return value


def find(value: Value, kind: type[Any]) -> Any:
    """The value of class `kind` that `value` is or was made from.

    Raises:
        UsageError: `value` comes before `kind` in the chain.
    """
    place: Any = value
    while place is not None:
        if isinstance(place, kind):
            return place
        held = (getattr(place, item.name) for item in fields(place))
        place = next((inner for inner in held if type(inner).__name__ in KINDS), None)
    msg = (
        f"Expected a value that holds {kind.__name__}, got {type(value).__name__}: run the stage before this one first."
    )
    raise UsageError(msg)
