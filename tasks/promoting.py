"""What follows a scheduled training: the promotion where the version passes its gates, once."""

from __future__ import annotations

from abi.errors import GateFailed, PromotionConflict
from tasks.decisions import open_ledger
from tasks.promotion import promote
from tasks.stage import Call


def promote_with_gates(call: Call, version: int) -> str:
    """Ask for the promotion as the settings say; returns a sentence. Failed gates are an answer and no error."""
    if call.settings.schedule.promote == "never":
        return "Nothing was promoted (schedule.promote is never)."
    if open_ledger(call).aliases(call.name).champion == version:
        return f"Version {version} is champion already."
    try:
        promote(call, version).demand()
    except (GateFailed, PromotionConflict) as error:
        return f"Not promoted: {error}"
    return f"Version {version} is champion."


def pending(call: Call, version: int) -> bool:
    """Whether a scheduled version was not judged to its end: the run ended between its training and its promotion."""
    if call.settings.schedule.promote == "never":
        return False
    entries = open_ledger(call).entries(kinds=("gates", "promotion", "quarantine"), model=call.name)
    judged = (
        e for e in entries if e.kind != "gates" or not e.detail["passed"]
    )  # a kill may follow gates that it passed
    return all(entry.detail.get("version") != version for entry in judged)
