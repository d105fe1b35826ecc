"""The contrastive loss between modalities, held against one written in plain numpy, and which rows take part in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from abi.families.alignment import alignment_loss, begin_alignment, contrast, projected
from abi.families.modalities import present
from abi.types import Alignment

ASKED = Alignment(weight=0.5, temperature=0.1)


def _plain(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """CLIP's figure 3, row by row."""
    alike = one @ other.T / temperature
    lines = [(line, i) for i in range(len(one)) for line in (alike[i], alike[:, i])]
    return float(np.mean([math.log(sum(math.exp(s) for s in line)) - line[i] for line, i in lines]))


def _units(rows: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def test_it_is_the_symmetric_cross_entropy_of_similarities_to_the_own_row() -> None:
    one, other = _units(7, 0), _units(7, 1)
    found = contrast(one, other, torch.ones(7, dtype=torch.bool), 0.07)
    assert float(found) == pytest.approx(_plain(one.double().numpy(), other.double().numpy(), 0.07), rel=1e-5)
    assert float(contrast(other, one, torch.ones(7, dtype=torch.bool), 0.07)) == pytest.approx(float(found), rel=1e-5)


def test_by_hand() -> None:
    axes = torch.eye(2)  # similarities 1 and 0: log(e + 1) - 1 each way
    assert float(contrast(axes, axes, torch.ones(2, dtype=torch.bool), 1.0)) == pytest.approx(math.log(math.e + 1) - 1)


def test_rows_that_lack_a_modality_take_no_part() -> None:
    one, other = _units(9, 2).requires_grad_(), _units(9, 3)
    both = torch.tensor([True, False, True, True, False, True, False, True, True])
    found = contrast(one, other, both, 0.2)
    alone = contrast(one.detach()[both], other[both], torch.ones(6, dtype=torch.bool), 0.2)
    assert float(found.detach()) == pytest.approx(float(alone), rel=1e-6)
    found.backward()
    assert one.grad is not None
    assert one.grad[~both].abs().max() == 0
    assert (one.grad[both].abs().sum(1) > 0).all()


@pytest.mark.parametrize("there", [0, 1])
def test_fewer_than_two_rows_have_nothing_to_be_kept_apart_from(there: int) -> None:
    one = _units(4, 4).requires_grad_()
    found = contrast(one, _units(4, 5), torch.arange(4) < there, 0.07)
    found.backward()
    assert float(found.detach()) == 0
    assert one.grad is not None
    assert one.grad.abs().max() == 0


def test_pairs_of_modalities_are_averaged_and_attention_is_left_to_the_task(toy: Any) -> None:
    table = toy.media()
    network = toy.fitted(table).model.network.train()
    network.zero_grad()
    begin_alignment(network, ASKED)
    embedding = network.embed(network.encode(table.train)).detach().requires_grad_()
    found = alignment_loss(network, embedding, None, ASKED)
    assert found is not None
    with torch.no_grad():
        units = {m: u.double().numpy() for m, u in projected(network, embedding).items()}
    assert sorted(units) == [0, 1, 2]  # the table, the vectors, the pictures
    pairs = [_plain(units[a], units[b], 0.1) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert float(found.detach()) == pytest.approx(0.5 * float(np.mean(pairs)), rel=1e-4)
    found.backward()
    assert network.attention.offset.grad is None
    assert embedding.grad is not None
    assert all(p.grad is not None for p in network.projections.parameters())
    given = torch.ones(len(embedding), 3, dtype=torch.bool)
    given[5:, 1] = False  # dropped in all but five rows
    fewer = alignment_loss(network, embedding, given, ASKED)
    pairs = [_plain(units[0][:5], units[1][:5], 0.1), pairs[1], _plain(units[1][:5], units[2][:5], 0.1)]
    assert fewer is not None
    assert float(fewer.detach()) == pytest.approx(0.5 * float(np.mean(pairs)), rel=1e-4)


def test_a_modality_is_there_where_any_used_feature_of_it_is(toy: Any) -> None:
    table = toy.texts(rows=40, numeric=2)
    table.train.numeric[3, 0] = np.nan
    table.train.numeric[4] = np.nan
    found = present(table.train, table.problem.schema, {"t0", "x0", "x1"})
    assert np.flatnonzero(~found[:, 0]).tolist() == [0, 1]  # missing, empty
    assert np.flatnonzero(~found[:, 1]).tolist() == [4]
    assert np.flatnonzero(~present(table.train, table.problem.schema, {"t0", "x0"})[:, 1]).tolist() == [3, 4]


def test_of_one_modality_nothing_is_aligned(toy: Any) -> None:
    network = toy.fitted(toy.table()).model.network
    begin_alignment(network, ASKED)
    assert network.projections is None
    assert alignment_loss(network, torch.zeros(2, len(network.feature_of)), None, ASKED) is None
