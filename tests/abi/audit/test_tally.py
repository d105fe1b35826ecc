from __future__ import annotations

from typing import Any

import pytest

from abi.audit.entry import Entry
from abi.audit.tally import Tally, second

COST = {"parameters": 100, "memory_bytes": 4000, "train_time_s": 3.0, "latency_s": 0.002}
REAL = {"parameters": 100, "memory_bytes": 5000, "train_time_s": 2.0, "latency_s": 0.0}


def entries(*told: dict[str, Any]) -> list[Entry]:
    """One a minute, from midnight of the first of January."""
    return [
        Entry(
            seq=n,
            previous="0" * 64,
            time=f"2026-01-01T00:{n:02d}:00.000000Z",
            actor="ada@lab",
            **({"model": "shop"} | one),
        )
        for n, one in enumerate(told, 1)
    ]


def registered(version: int, **more: Any) -> dict[str, Any]:
    detail = {"version": version, "predicted": COST, "measured": REAL, "metrics": {"roc_auc": 0.9}}
    aliases = {"aliases": {"champion": None, "challenger": version, "previous": None}}
    return {"kind": "registration", "detail": detail | aliases, **more}


def test_a_time_is_a_second():
    assert second("1970-01-02T00:00:01.500000Z") == 86401.5


def test_a_run_lasts_from_its_first_entry_to_its_registration():
    tally = Tally()
    made = entries(
        {"kind": "snapshot", "flow_run": "a"},
        {"kind": "checks", "flow_run": "b"},
        {"kind": "scores", "flow_run": "a"},
        registered(1, flow_run="a"),
        registered(2, flow_run="b"),
        registered(3),
        {"kind": "quarantine", "detail": {"version": 3}},
        {"kind": "missed"},
    )
    for one in made:  # as they come in, or all at once
        tally.add([one])
    whole = Tally()
    whole.add(made)
    assert tally.models == whole.models
    shop = tally.models["shop"]
    assert dict(shop.runs) == {"registered": 3, "quarantined": 1, "missed": 1}
    assert (shop.run_seconds, shop.runs_timed) == (180 + 180, 2)
    assert shop.versions == {n: second(f"2026-01-01T00:0{m}:00Z") for n, m in ((1, 4), (2, 5), (3, 6))}
    assert (tally.seq, tally.time) == (8, second("2026-01-01T00:08:00Z"))


def test_predicted_over_measured_where_both_are_known():
    tally = Tally()
    tally.add(entries(registered(1)))
    assert tally.models["shop"].ratios() == {"parameters": 1.0, "memory": 0.8, "train_time": 1.5}
    tally.add(entries({"kind": "scores", "model": "other"}))
    assert tally.models["other"].ratios() == {}


def test_the_champion_and_since_when():
    def sets(kind: str, champion: int | None, previous: int | None) -> dict[str, Any]:
        return {"kind": kind, "detail": {"aliases": {"champion": champion, "challenger": None, "previous": previous}}}

    tally = Tally()
    tally.add(entries(registered(1), sets("promotion", 1, None)))
    shop = tally.models["shop"]
    assert (shop.aliases["champion"], shop.champion_since) == (1, second("2026-01-01T00:02:00Z"))
    more = entries(
        *[{"kind": "scores"}] * 2, sets("quarantine", 1, None), sets("promotion", 2, 1), sets("rollback", 1, 2)
    )
    tally.add(more[2:3])
    assert shop.champion_since == second("2026-01-01T00:02:00Z")
    tally.add(more[3:])
    assert (shop.aliases["champion"], shop.champion_since) == (1, second("2026-01-01T00:05:00Z"))
    assert dict(shop.decisions) == {"promotion": 2, "rollback": 1}


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ({"passed": True}, "passed"),
        ({"passed": False}, "failed"),
        ({"passed": False, "waived": True}, "waived"),
        ({"passed": True, "waived": False}, "passed"),
    ],
)
def test_what_gates_said(result, verdict):
    tally = Tally()
    tally.add(entries(*[{"kind": "gates", "detail": {"results": [{"name": "latency", **result}]}}] * 2))
    assert dict(tally.models["shop"].gates) == {("latency", verdict): 2}


def test_entries_about_no_model_are_counted_as_entries_alone():
    tally = Tally()
    tally.add(entries({"kind": "key", "model": ""}))
    assert (tally.seq, tally.models) == (1, {})
