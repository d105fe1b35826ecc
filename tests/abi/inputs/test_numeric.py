"""Knots, cells and the interpolated embedding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from abi.inputs.numeric import NumericEncoder, _Interpolate, parameters, quantile_edges

columns = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.just(math.nan), st.just(math.inf)),
    min_size=1,
    max_size=80,
).map(np.array)


def test_few_distinct_values_are_the_knots() -> None:
    assert quantile_edges(np.array([3.0, 1.0, 2.0, 2.0, math.nan]), 8).tolist() == [1.0, 2.0, 3.0]


def test_many_values_are_cut_at_quantiles() -> None:
    # 0..100 in 4 bins: the ends, and the 25, 50 and 75 per cent points of what lies between them
    knots = quantile_edges(np.arange(101.0), 4)
    assert knots[[0, -1]].tolist() == [0.0, 100.0]
    assert_allclose(knots[1:-1], [25, 50, 75], atol=1)


def test_a_value_that_holds_most_rows_takes_one_knot_only() -> None:
    values = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    knots = quantile_edges(values, 10)
    assert len(knots) == 11
    assert (knots == 0).sum() == 1
    assert_allclose(np.diff(knots[1:]), 10, atol=2)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf], [5.0], [5.0, 5.0, math.nan], [1e300]])
def test_there_are_always_two_increasing_finite_knots(values: list[float]) -> None:
    knots = quantile_edges(np.array(values, dtype=np.float64), 4)
    assert len(knots) == 2
    assert np.isfinite(knots).all()
    assert knots[0] < knots[1]


@settings(max_examples=150)
@given(columns, st.integers(1, 20))
def test_the_number_of_knots_is_what_a_plan_counts_on(values: np.ndarray, bins: int) -> None:
    finite = np.unique(values[np.isfinite(values)])
    knots = quantile_edges(values, bins)
    assert len(knots) == max(2, min(bins + 1, len(finite)))
    assert (np.diff(knots) > 0).all()
    if len(finite) > 1:
        assert (knots[0], knots[-1]) == (finite[0], finite[-1])


@settings(max_examples=50)
@given(columns, st.integers(1, 8), st.randoms(use_true_random=False))
def test_knots_do_not_depend_on_the_order_of_rows(values: np.ndarray, bins: int, random: object) -> None:
    order = np.arange(len(values))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert quantile_edges(values[order], bins).tolist() == quantile_edges(values, bins).tolist()


def test_the_gradient_of_the_interpolation() -> None:
    table = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    row = torch.tensor([0, 2, 5, 2], dtype=torch.int32)
    fraction = torch.tensor([0.0, 0.3, 1.0, 0.7], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: _Interpolate.apply(t, row, fraction), (table,))


def test_the_interpolation_by_hand() -> None:
    table = torch.tensor([[0.0, 10.0], [4.0, 20.0], [8.0, 0.0]])
    out = _Interpolate.apply(table, torch.tensor([0, 1]), torch.tensor([0.25, 0.5]))
    assert out.tolist() == [[1.0, 12.5], [6.0, 10.0]]


def _encoder(widths: list[int], knots: int = 4) -> NumericEncoder:
    torch.manual_seed(0)
    encoder = NumericEncoder([np.arange(float(knots)) for _ in widths], widths)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    return encoder


def _embed(encoder: NumericEncoder, values: list[list[float]]) -> np.ndarray:
    return encoder(encoder.encode(np.array(values, dtype=np.float64))).detach().numpy()


def test_the_embedding_is_linear_between_knots_and_constant_beyond_them() -> None:
    at = _embed(_encoder([3]), [[0.0], [1.0], [0.5], [-7.0], [3.0], [99.0], [math.inf], [-math.inf]])
    assert_allclose(at[2], (at[0] + at[1]) / 2, rtol=1e-5, atol=1e-6)
    assert_allclose(at[3], at[0])
    assert_allclose(at[5], at[4])
    assert_allclose(at[6], at[4])
    assert_allclose(at[7], at[0])


def test_it_equals_the_piecewise_linear_encoding_and_a_linear_layer() -> None:
    # Gorishniy et al. 2022: bin t holds clip((x - b_t) / (b_t+1 - b_t), 0, 1); our knots are base + slope z + sums of increments
    encoder = _encoder([2])
    (group,) = encoder.groups
    x = np.array([0.3, 1.7, 2.0, 2.9])
    bins = np.clip((x[:, None] - np.arange(3.0)) / 1.0, 0, 1)
    z = group.z.numpy()[:, 0]
    start = (group.base + group.slope * z[0]).detach().numpy()
    rise = (group.increment[1:] + group.slope * torch.from_numpy(np.diff(z))[:, None]).detach().numpy()
    assert_allclose(_embed(encoder, x[:, None].tolist()), start + bins @ rise, rtol=1e-5, atol=1e-6)


def test_a_missing_value_has_its_own_embedding_for_each_feature() -> None:
    encoder = _encoder([2, 2, 3])
    missing = _embed(encoder, [[math.nan] * 3])[0]
    expected = torch.cat([g.missing.reshape(-1) for g in encoder.groups]).detach().numpy()
    assert_allclose(missing, expected)


def test_features_of_any_widths_stand_side_by_side_in_order_of_width() -> None:
    encoder = _encoder([3, 1, 3, 2])
    assert encoder.order == [1, 3, 0, 2]
    values = [[0.2, 1.4, 2.2, 0.9]]
    whole = _embed(encoder, values)[0]
    assert whole.shape == (9,)
    for place, i in enumerate(encoder.order):  # changing one feature changes its own units only
        changed = [list(values[0])]
        changed[0][i] += 1.0
        begin = sum([3, 1, 3, 2][j] for j in encoder.order[:place])
        units = np.flatnonzero(~np.isclose(_embed(encoder, changed)[0], whole))
        assert units.tolist() == list(range(begin, begin + [3, 1, 3, 2][i]))


@pytest.mark.parametrize(("width", "knots"), [(1, 2), (4, 5), (8, 33)])
def test_the_number_of_parameters(width: int, knots: int) -> None:
    encoder = NumericEncoder([np.arange(float(knots))], [width])
    assert sum(p.numel() for p in encoder.parameters()) == parameters(width, knots - 1)


def test_the_last_row_of_every_feature_stays_inside_the_table() -> None:
    encoder = _encoder([2, 2])
    codes = encoder.encode(np.array([[3.0, 3.0], [math.nan, math.nan]]))
    assert int(codes.row.max()) + 1 < encoder.groups[0].table().shape[0]
    assert codes.take(torch.tensor([1])).row.tolist() == codes.row[1:].tolist()
