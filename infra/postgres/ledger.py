"""Make the ledger's tables as their owner; let the role that runs use read and append, and the readers' role read.

Run it with `ABI_AUDIT__URL` (and `PGPASSWORD`) of the owner, once and after each upgrade; twice does no harm. Entries and
checkpoints can be added and read; the head, one row that says how far the ledger goes, can be moved; leases come and go.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sqlalchemy import text

from abi.config import load_config
from abi.errors import AbiError
from tasks.ledger import Ledger
from tasks.ledger_tables import checkpoints, entries, head, leases
from tasks.workspace import Workspace

WRITER, READER = "abi_ledger", "abi_reader"
GRANTS = {
    entries.name: "SELECT, INSERT",
    checkpoints.name: "SELECT, INSERT",
    head.name: "SELECT, UPDATE",
    leases.name: "SELECT, INSERT, UPDATE, DELETE",
}


def main() -> None:
    """Open the ledger, which makes its tables where there are none, and grant."""
    ledger = Ledger.open(Workspace.open(Path(os.environ.get("ABI_WORKSPACE", ".abi"))), load_config().audit)
    with ledger.engine.begin() as connection:
        for table, verbs in GRANTS.items():
            connection.execute(text(f"REVOKE ALL ON {table} FROM {WRITER}, {READER}"))
            connection.execute(text(f"GRANT {verbs} ON {table} TO {WRITER}"))
            connection.execute(text(f"GRANT SELECT ON {table} TO {READER}"))
    ledger.engine.dispose()
    print(f"ledger    ready for {WRITER} and {READER}, {ledger.size()} entries")


if __name__ == "__main__":
    try:
        main()
    except AbiError as error:
        print(f"ledger: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
