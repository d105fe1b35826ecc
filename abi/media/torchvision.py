"""torchvision where its own operators cannot be loaded.

PyPI's wheels of torchvision are built for CUDA. Beside a torch that was built for CPUs alone their operators do not load,
and then `import torchvision` fails, and with it timm and transformers, which use none of them. Once two of the operators are
declared it can be imported.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

import torch

DECLARED: Final = ("nms", "qnms")
"""What torchvision describes to torch's compiler although it may not be there."""
_SCHEMA: Final = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def load_torchvision() -> None:
    """Import it if it is installed, with operators or without; whoever needs it says so if it is not."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in DECLARED:
            torch.library.define(f"torchvision::{name}", _SCHEMA)
        importlib.import_module("torchvision")
