"""ABI, the Attention Balance Instrument: capacity goes where the data pays for it, and every decision can be shown.

As a library: `AttentionBalancedClassifier` and `AttentionBalancedRegressor`, which are imported when they are asked for.
Where torch is not there by then, its threads are told how to wait, as those of the commands are (`abi.waiting`).
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from abi.waiting import waiting

if TYPE_CHECKING:
    from abi.estimators.classifier import AttentionBalancedClassifier
    from abi.estimators.regressor import AttentionBalancedRegressor

__all__ = ["AttentionBalancedClassifier", "AttentionBalancedRegressor"]

_HOMES = {
    "AttentionBalancedClassifier": "abi.estimators.classifier",
    "AttentionBalancedRegressor": "abi.estimators.regressor",
}


def __getattr__(name: str) -> type:
    """Import an estimator on first use: torch and scikit-learn take seconds, the command line has none to spare."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if "torch" not in sys.modules:
        os.environ.update(waiting(os.environ))
    found: type = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
