"""Models on disk, whatever their family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from abi.errors import WorkspaceError
from abi.families import artifact
from abi.families.blend import load_blend
from abi.families.family import MODEL, Model
from abi.families.trees import load_trees

LOADERS: Final[dict[str, Callable[[Path, Any], Model]]] = {
    "network": lambda folder, _: artifact.load(folder),
    "trees": load_trees,
    "blend": load_blend,
}
"""Family -> what reads its folder, given what ``model.json`` holds."""


def load(folder: Path | str) -> Model:
    """Read a model folder of any family.

    Raises:
        WorkspaceError: a file is missing or damaged, or its parts do not belong together.
    """
    folder = Path(folder)
    try:
        plain: Any = json.loads((folder / MODEL).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"Expected a model in {folder}, got: {error}. Train the model again or restore the folder."
        raise WorkspaceError(msg) from None
    family = plain.get("family") if isinstance(plain, dict) else None
    if family not in LOADERS:
        msg = f"Expected a model of family {', '.join(LOADERS)} in {folder}, got {family!r}. Train the model again or restore the folder."
        raise WorkspaceError(msg)
    return LOADERS[str(family)](folder, plain)
