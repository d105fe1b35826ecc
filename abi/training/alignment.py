"""Whether modalities have been aligned: how often they find each other's rows among validation rows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from abi.families.alignment import projected
from abi.families.modalities import present
from abi.modality import modalities
from abi.outcomes import Retrieval
from abi.training.fitted import rounded

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.families.network import Cells, Network
    from abi.problem import Schema
    from abi.types import Capacity, Plan

BATCH: Final = 64
"""Rows among which a row's own is to be found."""
MOST_ROWS: Final = 4096


def present_rows(columns: Columns, schema: Schema, capacity: Capacity) -> Bool[Tensor, "rows modalities"]:
    """Which modalities rows have, of those features that a plan gives a width."""
    return torch.from_numpy(present(columns, schema, {f.feature for f in capacity.features if f.width}))


def end_alignment(network: Network, cells: Cells, columns: Columns, plan: Plan) -> tuple[Retrieval, ...]:
    """Take a network's projections away; gives what they reached on these rows, nothing where there were none."""
    if network.projections is None:
        return ()
    schema = plan.attention.scores.problem.schema
    there = present_rows(columns, schema, plan.capacity).to(network.feature_of.device)
    found = retrieval(network, cells, there, schema)
    network.projections = None
    return found


def retrieval(
    network: Network, cells: Cells, there: Bool[Tensor, "rows modalities"], schema: Schema
) -> tuple[Retrieval, ...]:
    """Of each pair of modalities that the network's projections align, on the first rows that have both.

    Args:
        network: with its projections; it is left in evaluation mode.
        cells: encoded rows.
        there: the modalities that each of them has.
        schema: names the modalities.
    """
    network.eval()
    device, names = there.device, modalities(schema)
    index = torch.arange(min(cells.rows, MOST_ROWS), device=device)
    with torch.no_grad():
        parts = [projected(network, network.embed(cells.take(i))) for i in torch.split(index, network.chunk_rows)]
    units = {m: torch.cat([part[m] for part in parts]) for m in parts[0]}
    found = []
    for a, b in itertools.combinations(units, 2):
        both = torch.nonzero(there[: len(index), a] & there[: len(index), b]).flatten()
        batch = min(BATCH, len(both))
        if batch < 2:  # noqa: PLR2004 - a row alone is always found
            continue
        chosen = both[: len(both) // batch * batch]
        hits = [_found(units[a][part], units[b][part]) for part in torch.split(chosen, batch)]
        found.append(
            Retrieval(
                modalities=(names[a], names[b]),
                accuracy=rounded(float(torch.stack(hits).mean())),
                batch_rows=batch,
                rows=len(chosen),
            )
        )
    return tuple(found)


def _found(one: Float[Tensor, "B P"], other: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """Share of rows that are nearest to their own in the other modality, the mean of both ways."""
    alike, own = one @ other.T, torch.arange(len(one), device=one.device)
    return torch.stack([(s.argmax(1) == own).float().mean() for s in (alike, alike.T)]).mean()
