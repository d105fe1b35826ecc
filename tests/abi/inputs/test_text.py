"""Embeddings of terms in a table of which only chosen cells exist."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from abi.inputs.terms import Bags, bags_of
from abi.inputs.text import BagCells, TextEncoder, graded, window

TERMS, WIDTH = 7, 4
TEXTS = ("a b", "c", "", "g g e f", "unknown")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _bags(texts: tuple[str, ...] = TEXTS) -> Bags:
    return bags_of(texts, {term: i for i, term in enumerate("abcdefg")}, np.linspace(1, 2, TERMS, dtype=np.float32))


def _encoder(share: float = 1.0) -> TextEncoder:
    return TextEncoder(np.random.default_rng(1).random((TERMS, WIDTH)) < share)


def _cells(encoder: TextEncoder, codes: tuple[int, ...] = (0, 1, 2, 3, 4, -1)) -> BagCells:
    return encoder.encode(np.array(codes, dtype=np.int64), _bags())


def test_a_row_is_the_weighted_sum_of_its_terms_at_length_root_width() -> None:
    encoder, bags = _encoder(), _bags()
    found, table = encoder(_cells(encoder)), encoder.values.view(TERMS, WIDTH)
    summed = bags.weights[0] * table[0] + bags.weights[1] * table[1]
    torch.testing.assert_close(found[0], summed / (summed.norm() + 1e-6) * math.sqrt(WIDTH))
    torch.testing.assert_close(found[1], table[2] / table[2].norm() * 2.0, rtol=1e-4, atol=1e-5)


def test_empty_unknown_and_missing_texts_are_zero() -> None:
    encoder = _encoder(0.6)
    assert (encoder(_cells(encoder))[[2, 4, 5]] == 0).all()


def test_of_width_one_it_is_the_sum_which_can_be_learnt() -> None:
    encoder, bags = TextEncoder(np.ones((TERMS, 1), dtype=bool)), _bags()
    found = encoder(_cells(encoder))
    weights = torch.from_numpy(bags.weights[:2])
    torch.testing.assert_close(found[0, 0], weights @ encoder.values[:2])
    found.sum().backward()
    assert encoder.values.grad is not None
    torch.testing.assert_close(encoder.values.grad[:2], weights)


def test_a_full_mask_is_a_plain_embedding_bag() -> None:
    encoder = _encoder()
    plain = nn.EmbeddingBag(TERMS, WIDTH, mode="sum", _weight=encoder.values.detach().view(TERMS, WIDTH))
    ids, weights, first = (cells := _cells(encoder)).gather()
    summed = plain(ids, first, per_sample_weights=weights)
    expected = summed / (summed.norm(dim=1, keepdim=True) + 1e-6) * 2
    torch.testing.assert_close(encoder(cells), expected)


def test_rows_that_share_a_text_share_its_embedding_whatever_their_order() -> None:
    encoder = _encoder(0.7)
    cells = _cells(encoder, (3, -1, 0, 3, 2))
    found = encoder(cells)
    assert torch.equal(found[0], found[3])
    taken = encoder(cells.take(torch.tensor([4, 0, 1])))
    torch.testing.assert_close(taken, found[[4, 0, 1]])


def test_no_rows_no_terms_no_cells() -> None:
    assert _encoder(0.5)(_cells(_encoder(), ())).shape == (0, WIDTH)
    empty = TextEncoder(np.zeros((TERMS, WIDTH), dtype=bool))
    assert (empty(_cells(empty)) == 0).all()
    none = TextEncoder(np.zeros((0, WIDTH), dtype=bool))
    bags = bags_of(["a", ""], {}, np.empty(0, dtype=np.float32))
    assert (none(none.encode(np.array([0, 1, -1]), bags)) == 0).all()


def test_gradients_are_those_of_a_dense_table_times_its_mask() -> None:
    encoder = _encoder(0.5).double()
    cells = _cells(encoder)
    cells = BagCells(cells.text, cells.ids, cells.weights.double(), cells.offsets, cells.total)
    target = torch.randn(6, WIDTH, dtype=torch.float64)
    (encoder(cells) * target).sum().backward()
    mask = torch.zeros(TERMS * WIDTH, dtype=torch.float64)
    mask[encoder.cell] = 1.0
    dense = torch.zeros(TERMS * WIDTH, dtype=torch.float64)
    dense[encoder.cell] = encoder.values.detach()
    dense.requires_grad_(True)
    ids, weights, first = cells.gather()
    table = (dense * mask).view(TERMS, WIDTH)
    summed = nn.functional.embedding_bag(ids, table, first, mode="sum", per_sample_weights=weights)
    ((summed * (2 / (summed.norm(dim=1, keepdim=True) + 1e-6))) * target).sum().backward()
    assert encoder.values.grad is not None
    assert dense.grad is not None
    torch.testing.assert_close(encoder.values.grad, dense.grad[encoder.cell])


def test_gradients_by_finite_differences_step_after_step() -> None:
    encoder = _encoder(0.5).double()
    cells = _cells(encoder, (0, 3))
    cells = BagCells(cells.text, cells.ids, cells.weights.double(), cells.offsets, cells.total)
    for _ in range(3):  # the kept table carries nothing from the step before
        encoder.values.grad = None
        encoder(cells)[:, 0].sum().backward()
        assert encoder.values.grad is not None
        slope, size = encoder.values.grad.clone(), 1e-6
        with torch.no_grad():
            for i in range(len(encoder.values)):
                encoder.values[i] += size
                up = encoder(cells)[:, 0].sum()
                encoder.values[i] -= 2 * size
                down = encoder(cells)[:, 0].sum()
                encoder.values[i] += size
                assert float(up - down) / (2 * size) == pytest.approx(float(slope[i]), abs=1e-6)
            encoder.values += 0.1 * slope


def test_a_table_made_while_predicting_can_be_trained() -> None:
    encoder = _encoder(0.5)
    with torch.inference_mode():
        before = encoder(_cells(encoder)).clone()
    after = encoder(_cells(encoder))
    after.sum().backward()
    assert encoder.values.grad is not None
    torch.testing.assert_close(after.detach(), before)


def test_dropped_terms_count_in_training_alone() -> None:
    encoder = _encoder()
    cells = _cells(encoder)
    encoder.train()
    assert (encoder(cells, drop=0.999) == 0).all()  # of six cells one stays in 167 tries
    torch.testing.assert_close(encoder(cells, drop=0.0), encoder.eval()(cells, drop=0.999))


def test_cells_that_are_kept_keep_what_they_hold() -> None:
    encoder = _encoder(0.8)
    cells = _cells(encoder)
    encoder(cells)
    kept = torch.arange(0, len(encoder.values), 2)
    with torch.no_grad():
        gone = torch.ones(len(encoder.values), dtype=torch.bool)
        gone[kept] = False
        encoder.values[gone] = 0.0
    before = encoder(cells).detach().clone()
    encoder.keep(kept)
    assert len(encoder.values) == len(encoder.cell) == len(kept)
    torch.testing.assert_close(encoder(cells), before)


def test_terms_without_cells_can_be_left_out() -> None:
    mask = np.ones((TERMS, WIDTH), dtype=bool)
    mask[[1, 5]] = False
    encoder = TextEncoder(mask)
    used = np.flatnonzero(encoder.widths())
    assert used.tolist() == [0, 2, 3, 4, 6]
    before = encoder(_cells(encoder)).detach().clone()
    encoder.renumber(used)
    places = {"abcdefg"[i]: n for n, i in enumerate(used)}
    # lengths of the bags differ where a term is left out, which the embedding's own length hides
    bags = bags_of(TEXTS, places, np.linspace(1, 2, TERMS, dtype=np.float32)[used])
    torch.testing.assert_close(encoder(encoder.encode(np.array([0, 1, 2, 3, 4, -1]), bags)), before)
    assert encoder.widths().tolist() == [WIDTH] * 5


@pytest.mark.parametrize("fresh", [1.0, 0.5, 0.0])
def test_a_shrunken_encoder_loads_into_a_fresh_one(fresh: float) -> None:
    shrunken = _encoder()
    shrunken.keep(torch.tensor([0, 3, 11, 27]))
    other = _encoder(fresh)
    other(_cells(other))
    other.load_state_dict(shrunken.state_dict())
    assert torch.equal(other.cell, shrunken.cell)
    torch.testing.assert_close(other(_cells(other)), shrunken(_cells(shrunken)))
    assert [p.numel() for p in other.parameters()] == [4]


def test_as_many_cells_elsewhere_leave_nothing_of_those_before() -> None:
    first, second = (TextEncoder(np.roll(np.eye(TERMS, WIDTH, dtype=bool), i, axis=1)) for i in (0, 1))
    first(_cells(first))
    first.load_state_dict(second.state_dict())
    torch.testing.assert_close(first(_cells(first)), second(_cells(second)))


def test_contributions_by_hand() -> None:
    encoder = TextEncoder(np.array([[True, False], [True, True]]))
    with torch.no_grad():
        encoder.values.copy_(torch.tensor([-2.0, 1.0, 3.0]))
    # |value| * square^0.4 with squares 1 and 32: 32^0.4 = 4
    found = encoder.contributions(torch.tensor([1.0, 32.0]))
    torch.testing.assert_close(found, torch.tensor([2.0, 4.0, 12.0]))


scores = st.lists(st.floats(0.01, 1), min_size=1, max_size=12).map(np.array)


@settings(max_examples=100)
@given(scores, st.integers(1, 60), st.integers(1, 8))
def test_graded_gives_all_entries_and_more_to_the_better(values: Any, entries: int, width: int) -> None:
    found = graded(values, entries, width)
    assert found.sum() == min(entries, len(values) * width)
    assert found.max() <= width
    order = np.argsort(values, kind="stable")
    rising = values[order][1:] > values[order][:-1]
    assert (np.diff(found[order])[rising] >= 0).all()


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 8))
def test_equal_scores_share_evenly(terms: int, entries: int, width: int) -> None:
    found = graded(np.full(terms, 0.25), entries, width)
    assert found.max() - found.min() <= 1


def test_graded_by_hand() -> None:
    # the k-th cell is worth s log2(1 + 1/k): 1, .58, .42, .32 of a score of 1, and .5, .29 of a score of 1/2
    assert graded(np.array([1.0, 0.5]), 3, 4).tolist() == [2, 1]
    assert graded(np.array([1.0, 0.5]), 4, 4).tolist() == [3, 1]
    assert graded(np.array([1.0, 0.0]), 8, 4).tolist() == [4, 0]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_a_window_has_exactly_its_cells_side_by_side(cells: list[int]) -> None:
    mask = window(np.array(cells), 5)
    assert mask.sum(axis=1).tolist() == cells
    for row in mask:
        assert np.count_nonzero(row != np.roll(row, 1)) <= 2  # one stretch that wraps around


def test_windows_start_everywhere() -> None:
    starts = window(np.ones(800, dtype=np.int64), 8).sum(axis=0)
    assert starts.sum() == 800
    assert (abs(starts - 100) < 45).all()  # 5 standard errors of 9.4
