"""Revisions in a file: a training that ends because memory ran out begins with the last one when it is started again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abi.errors import UsageError
from abi.execution.revision import Revision


@dataclass(frozen=True)
class Journal:
    """What was revised of one plan; of a file that another plan left nothing is read, and it is replaced.

    Attributes:
        path: of the file, on a disk of the machine whose devices train.
        plan: id of the plan.
    """

    path: Path
    plan: str

    def read(self) -> list[Revision]:
        """In order, the oldest first.

        Raises:
            UsageError: the file holds something else.
        """
        try:
            found: dict[str, Any] = json.loads(self.path.read_bytes())
            return [Revision.from_json(one) for one in found["revisions"]] if found["plan"] == self.plan else []
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, UsageError) as error:
            msg = f"Expected revisions of a plan in {self.path}, got what cannot be read as such ({type(error).__name__}): remove the file to begin as the plan says, or name another one."
            raise UsageError(msg) from None

    def add(self, revision: Revision) -> None:
        """Keep it, in one step; of two processes that fail together the first is heard."""
        known = self.read()
        if known and known[-1].new != revision.old:
            return
        text = json.dumps({"plan": self.plan, "revisions": [one.to_json() for one in (*known, revision)]}, indent=1)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(text + "\n")
        beside.replace(self.path)
