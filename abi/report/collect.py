"""Exhibits of a run: made once, when it is recorded, from its rows and its model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from abi.families.artifact import Model as Network
from abi.families.blend import Blend
from abi.report.exhibits import Exhibits
from abi.report.modality_losses import modality_losses
from abi.report.pictures import small_pictures
from abi.report.text_examples import text_examples

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.families.family import Model
    from abi.problem import Schema


def collect(schema: Schema, model: Model, train: Columns, validation: Columns, test: Columns) -> Exhibits | None:
    """What a report shows of pictures, texts and modalities; None where there are none of these.

    Args:
        schema: of the problem.
        model: that was kept.
        train: rows that pictures are shown of.
        validation: rows that modalities are shuffled on.
        test: rows that texts are shown of.
    """
    found = Exhibits(pictures=small_pictures(schema, train))
    network = model.network if isinstance(model, Blend) else model
    if isinstance(network, Network):
        examples = text_examples(model, network, test)
        found = replace(
            found,
            texts=examples,
            modalities=modality_losses(network, validation),
            exact=not network.blueprint.capacity.blocks if examples else None,
        )
    return None if found == Exhibits() else found
