"""Pictures in a frame."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import abi
from abi.errors import DataError


def _png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_are_learned_from_cells_of_a_frame() -> None:
    frame = pd.DataFrame({"photo": [_png(40 + i + 120 * (i % 2)) for i in range(60)], "n": np.arange(60) % 3})
    labels = np.array(["dark", "bright"])[np.arange(60) % 2]
    settings = {"training.epochs": 3, "training.members": 2, "attention.blend": False}
    model = abi.AttentionBalancedClassifier(family="network", rounds=1, n_jobs=1, settings=settings).fit(frame, labels)
    assert model.attention_.idxmax() == "photo[1,1]"
    lacking = frame.assign(photo=[None, b"words", *frame["photo"][2:]])
    found = model.predict_proba(lacking)
    assert np.isfinite(found).all()
    assert not np.allclose(found[1], model.predict_proba(frame)[1])


def test_an_array_of_pictures_is_told() -> None:
    with pytest.raises(DataError, match="got an array of 4 dimensions: give pictures as files"):
        abi.AttentionBalancedClassifier().fit(np.zeros((30, 8, 8, 3)), np.arange(30) % 2)
