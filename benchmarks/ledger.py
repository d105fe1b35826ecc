"""How fast decisions are entered and verified.

    python benchmarks/ledger.py [POSTGRES_URL ...]

Appends one by one and in batches of 100 (each durable: synchronous=FULL), on SQLite and on the PostgreSQL databases named
(empty ones: entries cannot be taken out again); verifies 100,000 entries; exports them and verifies that with the shipped
script. Prints a table; writes dated JSON into ``benchmarks/results/``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from results_file import write_results

from abi.audit.entry import Draft
from abi.operations import AuditConfig
from tasks.audit import export
from tasks.ledger import Ledger
from tasks.workspace import Workspace

SINGLE, BATCH, VERIFIED = 1_000, 100, 100_000
GOALS = {"append_per_s": 1_000, "verify_s": 20}


def decision(number: int) -> Draft:
    """As large as that of an attention."""
    most = {f"feature {i}": (number + i) / 997 for i in range(5)}
    return Draft(
        kind="attention",
        model="churn",
        values=dict.fromkeys(("problem", "schema", "scores", "attention"), f"{number:064x}"),
        detail={"round": number % 3, "temperature": 0.4, "entropy": 1.5, "moved": 0.02, "trials": 4, "most": most},
        operation=f"attention:{number}",
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(url: str | None, total: int) -> dict[str, float]:
    """All of one database."""
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder))
        ledger = Ledger.open(ws, AuditConfig(url=url))
        first = ledger.size()
        single_s = timed(lambda: [ledger.append(decision(n)) for n in range(SINGLE)])
        numbers = range(SINGLE, total - first, BATCH)
        batch_s = timed(lambda: [ledger.append(*map(decision, range(n, n + BATCH))) for n in numbers])
        size = ledger.size()
        verify_s = timed(ledger.verify)
        out = Path(folder) / "export"
        export_s = timed(lambda: export(ledger, out))
        command = [
            sys.executable,
            "-I",
            *(str(out / n) for n in ("verify_export.py", "ledger.jsonl", "ledger.pub.pem")),
        ]
        script_s = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        ledger.engine.dispose()
    return {
        "entries": size,
        "append_per_s": round(SINGLE / single_s, 1),
        "append_batches_per_s": round(len(numbers) * BATCH / batch_s, 1),
        "verify_s": round(verify_s, 2),
        "export_s": round(export_s, 2),
        "script_s": round(script_s, 2),
    }


def main() -> None:
    """Measure each database and print one row for each."""
    figures: dict[str, dict[str, float]] = {"sqlite": measure(None, VERIFIED)}
    for i, url in enumerate(sys.argv[1:]):
        figures["postgresql" if i == 0 else f"postgresql {i + 1}"] = measure(url, VERIFIED)
    names = list(figures["sqlite"])
    print(f"{'database':<14}" + "".join(f"{name:>22}" for name in names))
    for database, row in figures.items():
        print(f"{database:<14}" + "".join(f"{row[name]:>22,}" for name in names))
    print(write_results("ledger", {"goals": GOALS, **figures}))


if __name__ == "__main__":
    main()
