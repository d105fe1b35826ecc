"""Processes that promote against one another, and the check that what they saw is what one after another could have seen.

    python benchmarks/ledger_race.py WORKSPACE URL OPERATIONS SEED VERSIONS_FROM

is one of them: it reads the aliases, tries to promote a version of its own on what it read, and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from abi.audit.entry import Aliases, Draft, Entry
from abi.errors import PromotionConflict
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace

MODEL = "churn"
PATIENCE_S = 120.0
PAUSE_S = 0.003


@dataclass(frozen=True)
class Seen:
    """One operation as its process saw it; times are of the machine's one monotonic clock, in ns."""

    version: int
    read_began: int
    read_ended: int
    began: int
    ended: int
    champion: int | None
    """The version that was read as champion."""
    expected: int
    """The entry that was read as the one that set it."""
    entry: int | None
    """The entry that was made."""
    found: int | None
    """The champion's entry that a conflict reported."""


def race(workspace: Path, url: str | None, processes: int, operations: int, seed: int) -> list[Seen]:
    """Let processes promote against one another."""
    Ledger.open(Workspace.open(workspace), settings(url)).engine.dispose()
    command = [sys.executable, __file__, str(workspace), url or "", str(operations)]
    root = str(Path(__file__).parent.parent)
    running = [
        subprocess.Popen(
            [*command, str(seed + i), str(i * operations + 1)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        for i in range(processes)
    ]
    answers = [process.communicate()[0] for process in running]
    codes = [process.returncode for process in running]
    assert codes == [0] * processes, f"a process ended with {codes}: only conflicts may come"
    return [Seen(**one) for answer in answers for one in json.loads(answer)]


def settings(url: str | None) -> AuditConfig:
    """The same for all."""
    return AuditConfig(url=url, patience=PATIENCE_S)


def check(seen: Iterable[Seen], entries: Iterable[Entry]) -> list[str]:
    """What is not linearizable about it; empty where all is well.

    The order of entries is the order of the promotions that came through. It has to be one that keeps to real time, in
    which each named the one right before it; and what was read or reported has to have held within the time of asking.
    """
    seen, wrong = list(seen), list[str]()
    promotions = [entry for entry in entries if entry.kind == "promotion"]
    made = {one.entry: one for one in seen if one.entry is not None}
    if [e.seq for e in promotions] != sorted(made):
        wrong.append(f"{len(promotions)} promotions in the ledger, {len(made)} seen")
        return wrong
    before, champion = 0, None
    for entry in promotions:
        one = made[entry.seq]
        if (one.expected, entry.detail["replaces"]) != (before, before):
            wrong.append(
                f"entry {entry.seq} replaced {entry.detail['replaces']} and expected {one.expected}, not {before}"
            )
        if (entry.detail["version"], entry.detail["aliases"]["champion"]) != (one.version, one.version):
            wrong.append(f"entry {entry.seq} is not the promotion of version {one.version}")
        if one.champion != champion or entry.detail["aliases"]["previous"] != champion:
            wrong.append(f"entry {entry.seq} was decided on champion {one.champion}, not {champion}")
        before, champion = entry.seq, one.version
    latest = 0
    for seq in sorted(made):  # nobody who ended before another one began has the larger number
        if made[seq].ended < latest:
            wrong.append(f"entry {seq} ended before one with a smaller number began")
        latest = max(latest, made[seq].began)
    spans = _spans(made)
    for one in seen:
        if not _held(spans, one.expected, one.read_began, one.read_ended):
            wrong.append(f"version {one.version} read entry {one.expected}, which was not champion then")
        told = None if one.expected == 0 else made[one.expected].version
        if one.champion != told:
            wrong.append(
                f"version {one.version} read champion {one.champion} with entry {one.expected}, which set {told}"
            )
        if one.entry is None and (one.found == one.expected or not _held(spans, one.found or 0, one.began, one.ended)):
            wrong.append(f"version {one.version} was told of entry {one.found}, which was not champion then")
    return wrong


def _spans(made: dict[int, Seen]) -> dict[int, tuple[int, int]]:
    """Champion's entry -> the earliest moment from which it may have held, and the latest until which."""
    order = sorted(made)
    spans = {0: (0, made[order[0]].ended if order else sys.maxsize)}
    for seq, following in zip(order, [*order[1:], None], strict=True):
        spans[seq] = (made[seq].began, sys.maxsize if following is None else made[following].ended)
    return spans


def _held(spans: dict[int, tuple[int, int]], seq: int, began: int, ended: int) -> bool:
    start, end = spans.get(seq, (sys.maxsize, 0))
    return start <= ended and began <= end


def _run(workspace: str, url: str, operations: int, seed: int, first: int) -> list[Seen]:
    ledger = Ledger.open(Workspace(Path(workspace)), settings(url or None))
    pauses = random.Random(seed)  # noqa: S311 - no secret
    done = []
    for version in range(first, first + operations):
        read_began = time.monotonic_ns()
        now = ledger.aliases(MODEL)
        read_ended = time.monotonic_ns()
        time.sleep(pauses.uniform(0, PAUSE_S))
        began = time.monotonic_ns()
        entry = found = None
        draft = Draft(kind="promotion", model=MODEL, detail={"version": version}, operation=f"promote:{version}")
        try:
            entry = ledger.change(draft, _promoted(version), expected=now.champion_seq).seq
        except PromotionConflict as conflict:
            found = conflict.found
        ended = time.monotonic_ns()
        done.append(Seen(version, read_began, read_ended, began, ended, now.champion, now.champion_seq, entry, found))
    return done


def _promoted(version: int) -> Callable[[Aliases], Aliases]:
    return lambda now: replace(now, champion=version, previous=now.champion)


if __name__ == "__main__":
    json.dump([asdict(one) for one in _run(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))], sys.stdout)
