"""What the rarest classes lean on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from abi.config import load_config
from abi.data.memory import read_memory
from abi.scoring.tail import leans, presence_information
from abi.training.fitted import groups_in


def test_a_rare_class_is_told_by_its_own_feature_and_term() -> None:
    random = np.random.default_rng(0)
    rows = 1200
    label = random.choice(["often", "seldom", "rare"], rows, p=[0.7, 0.26, 0.04]).astype(object)
    words = [" ".join(random.choice([f"w{i}" for i in range(40)], 6)) for _ in range(rows)]
    texts = [f"{text} chargeback" if one == "rare" else text for text, one in zip(words, label, strict=True)]
    frame = pd.DataFrame(
        {
            "big": np.where(label == "often", 2.0, 0.0) + random.normal(size=rows),
            "own": np.where(label == "rare", 4.0, 0.0) + random.normal(size=rows),
            "colour": random.choice(["red", "green", "blue"], rows),
            "text": texts,
            "y": label,
        }
    )
    config = load_config(settings={"data.columns": {"text": "text"}}, ambient=False)
    reader = read_memory(frame, "y", config)
    train = reader.load("train")
    groups = groups_in(train, reader.problem.schema)
    assert groups is not None
    (found,) = leans(train, reader.problem.schema, groups)
    assert reader.problem.schema.classes[found.place] == "rare"
    assert found.rows == groups.rows[found.place] == int((train.target == found.place).sum())
    assert found.terms[0] == "chargeback"
    assert all("chargeback" in term for term in found.terms)
    assert {name for name, _ in found.features[:2]} == {"text", "own"}
    told = dict(found.features)
    assert told["text"] == pytest.approx(1.0, abs=0.02)  # the term tells the class wholly
    assert told["own"] > 0.4
    assert told.get("big", 0.0) < 0.2


def testpresence_information_of_presence_and_class_by_hand() -> None:
    # ten rows, five of the class; the term stands in exactly these: ln 2, less 1 / 2n
    found = presence_information(np.array([5, 2]), np.array([5, 4]), 5.0, 10.0)
    assert found == pytest.approx([np.log(2) - 1 / 20, -1 / 20])
