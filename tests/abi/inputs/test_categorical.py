"""Vocabularies, table rows and embeddings of categories."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from abi.data.columns import Codes
from abi.inputs.categorical import EXTRA_ROWS, CategoryEncoder, look_up, parameters, vocabulary

CODES = Codes(np.array([0, 0, 0, 1, 2, 2, -1], dtype=np.int32), ("red", "blue", "green", "never"))


def test_the_most_frequent_values_come_first_and_unused_ones_not_at_all() -> None:
    assert vocabulary(CODES, 100) == ("red", "green", "blue")


def test_rows_are_a_limit_that_includes_the_two_extra_ones() -> None:
    assert vocabulary(CODES, 2 + EXTRA_ROWS) == ("red", "green")


def test_ties_go_by_text() -> None:
    assert vocabulary(Codes(np.array([0, 1, 2], dtype=np.int32), ("b", "c", "a")), 9) == ("a", "b", "c")


def test_a_feature_that_is_always_missing_has_no_vocabulary() -> None:
    assert vocabulary(Codes(np.array([-1, -1], dtype=np.int32), ()), 2) == ()


def test_known_then_unseen_then_missing() -> None:
    rows = look_up(Codes(np.array([0, 1, 2, -1], dtype=np.int32), ("green", "pink", "red")), ("red", "green"))
    assert rows.tolist() == [1, 2, 0, 3]


def test_with_nothing_known_all_is_unseen_or_missing() -> None:
    assert look_up(Codes(np.array([0, -1], dtype=np.int32), ("pink",)), ()).tolist() == [0, 1]
    assert look_up(Codes(np.array([-1], dtype=np.int32), ()), ("red",)).tolist() == [2]


@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=30), st.integers(3, 8))
def test_how_codes_are_numbered_does_not_matter(values: list[str | None], rows: int) -> None:
    def codes(names: tuple[str, ...]) -> Codes:
        return Codes(np.array([-1 if v is None else names.index(v) for v in values], dtype=np.int32), names)

    one, other = codes(("a", "b", "c", "d")), codes(("x", "d", "b", "a", "c"))
    known = vocabulary(one, rows)
    assert vocabulary(other, rows) == known
    assert look_up(one, known).tolist() == look_up(other, known).tolist()
    assert look_up(one, known).max() < len(known) + EXTRA_ROWS


def _encoder(rows: list[int], widths: list[int]) -> CategoryEncoder:
    torch.manual_seed(0)
    return CategoryEncoder(rows, widths)


def test_each_feature_reads_its_own_rows() -> None:
    encoder = _encoder([3, 4, 5], [2, 1, 2])
    assert encoder.order == [1, 0, 2]
    narrow, wide = encoder.tables
    out = encoder(encoder.encode(np.array([[2, 3, 0], [0, 0, 4]], dtype=np.int32)))
    expected = [torch.cat([narrow[3], wide[2], wide[3 + 0]]), torch.cat([narrow[0], wide[0], wide[3 + 4]])]
    assert torch.equal(out, torch.stack(expected))


@pytest.mark.parametrize(("rows", "widths"), [([3], [1]), ([3, 5], [4, 4]), ([2, 9, 3], [3, 1, 2])])
def test_the_number_of_parameters(rows: list[int], widths: list[int]) -> None:
    built = sum(p.numel() for p in _encoder(rows, widths).parameters())
    assert built == sum(parameters(w, r) for w, r in zip(widths, rows, strict=True))


def test_only_rows_that_were_read_get_a_gradient() -> None:
    encoder = _encoder([4], [2])
    encoder(encoder.encode(np.array([[1], [1], [3]], dtype=np.int32))).sum().backward()
    assert encoder.tables[0].grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]
