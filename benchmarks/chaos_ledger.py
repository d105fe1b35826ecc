"""The long form of the ledger's tests: races and tamperings by a seed that is printed.

    python benchmarks/chaos_ledger.py [--seed N] [--postgres URL] [--long]

Processes promote against one another (16 x 100 operations with --long, else 4 x 15) on SQLite and, where its URL is given,
on an empty PostgreSQL database; what they saw has to be linearizable. Then 2,000 tamperings (20,000 with --long): each has
to be detected and the first bad entry named. Exit 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import collections
import secrets
import sys
import tempfile
import time
from pathlib import Path

from ledger_race import check, race, settings
from ledger_tampering import Tamperer, build_world

from abi.errors import AuditBroken
from tasks.ledger import Ledger
from tasks.workspace import Workspace


def races(url: str | None, processes: int, operations: int, seed: int) -> list[str]:
    """What was wrong with one race."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seen = race(Path(folder), url, processes, operations, seed)
        ledger = Ledger.look(Workspace(Path(folder)), settings(url))
        wrong = check(seen, ledger.entries())
        ledger.verify()
        database = ledger.engine.dialect.name
        ledger.engine.dispose()
    won = sum(one.entry is not None for one in seen)
    lost = sum(one.found is not None for one in seen)
    if won + lost != processes * operations:
        wrong.append(f"{processes * operations} operations, {won} promotions and {lost} conflicts")
    took = time.perf_counter() - start
    print(
        f"{database}: {processes} x {operations} operations in {took:.1f} s: {won} promotions, {lost} conflicts, {len(wrong)} not linearizable"
    )
    return wrong


def tamperings(count: int, seed: int) -> list[str]:
    """Which were not detected, or under another entry's name."""
    make, wrong, kinds = Tamperer(build_world(), seed), list[str](), collections.Counter[str]()
    for _ in range(count):
        case = make.case()
        kinds[case.what] += 1
        try:
            case.store.verify()
            wrong.append(f"{case.what} of entry {case.entry}: not detected")
        except AuditBroken as broken:
            if broken.entry != case.entry:
                wrong.append(f"{case.what} of entry {case.entry}: {broken}")
    print(f"{count} tamperings of {len(kinds)} kinds: {len(wrong)} not detected or misnamed")
    return wrong


def main() -> None:
    """Run all and print what was wrong."""
    parser = argparse.ArgumentParser(description="Races and tamperings against the ledger.")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--postgres", metavar="URL", help="an empty database")
    parser.add_argument("--long", action="store_true", help="16 x 100 operations, 20,000 tamperings")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    processes, operations, count = (16, 100, 20_000) if given.long else (4, 15, 2_000)
    wrong = [f"sqlite: {one}" for one in races(None, processes, operations, given.seed)]
    if given.postgres:
        wrong += [f"postgresql: {one}" for one in races(given.postgres, processes, operations, given.seed)]
    wrong += tamperings(count, given.seed)
    for one in wrong[:20]:
        print(one)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
