"""What follows a scheduled training: the promotion where the version passes its gates."""

from __future__ import annotations

from abi.errors import GateFailed, PromotionConflict
from tasks.promotion import promote
from tasks.stage import Call


def promote_with_gates(call: Call, version: int) -> str:
    """Ask for the promotion as the settings say; returns a sentence. Failed gates are an answer and no error."""
    if call.settings.schedule.promote == "never":
        return "Nothing was promoted (schedule.promote is never)."
    try:
        promote(call, version).demand()
    except (GateFailed, PromotionConflict) as error:
        return f"Not promoted: {error}"
    return f"Version {version} is champion."
