"""The layers of an ensemble, from tabm; without the second that scikit-learn's trees take to be imported.

tabm imports rtdl_num_embeddings, which takes `sklearn.tree` for knots that this project does not use; it gets a stand-in
that imports it once somebody asks.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final

TREES: Final = "sklearn.tree"
EMBEDDINGS: Final = "rtdl_num_embeddings"


class _Later(ModuleType):
    """A module that is imported when a name of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if TREES not in sys.modules and EMBEDDINGS not in sys.modules:
    sys.modules[TREES] = None  # type: ignore[assignment]  # what Python takes for a module that is not there
    try:
        importlib.import_module(EMBEDDINGS).sklearn_tree = _Later(TREES)  # type: ignore[attr-defined]
    finally:
        del sys.modules[TREES]

from tabm import ElementwiseAffine, LinearEnsemble  # noqa: E402 - after its dependency was made light

__all__ = ["ElementwiseAffine", "LinearEnsemble"]
