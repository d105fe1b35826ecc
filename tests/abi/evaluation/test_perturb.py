"""Noise and gaps, from rows written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.data.columns import Codes, Columns
from abi.data.mentions import MARK
from abi.evaluation.baseline import of_columns
from abi.evaluation.perturb import NOISE, Known, Noise, _misspelt, encoded, known, with_gaps, with_noise, without
from abi.evaluation.wording import noise_of
from abi.monitoring.tally import columns_of
from abi.problem import Pretrained, Sight

KINDS = {"x": "numeric", "c": "categorical", "t": "text", "z": "numeric"}
NOTHING = Noise(0.0, 0.0, 0.0)


def _rows(count: int = 400) -> Columns:
    numeric = np.column_stack([np.tile([1.0, 3.0], count // 2), np.tile([np.nan, 5.0], count // 2)])
    colours = Codes(np.tile([0, -1], count // 2).astype(np.int32), ("red",))
    texts = Codes(np.tile([0, -1], count // 2).astype(np.int32), ("one two three four",))
    return Columns(numeric, (colours, texts), np.zeros(count, np.int64), np.arange(count))


def _schema(toy: Any) -> Any:
    return toy.problem(KINDS).schema


def test_deviations_and_values_are_those_of_the_training_rows() -> None:
    seen = known(_rows())
    np.testing.assert_allclose(seen.deviations, [1.0, 0.0])  # 1, 3, 1, 3 lie one from their mean; all of z are 5
    assert seen.values == (("red",), ("one two three four",))


def test_a_column_without_values_has_no_deviation() -> None:
    rows = Columns(np.full((3, 1), np.nan), (), np.zeros(3, np.int64), np.arange(3))
    np.testing.assert_array_equal(known(rows).deviations, [0.0])


def test_no_noise_changes_nothing(toy: Any) -> None:
    rows = _rows()
    found = with_noise(rows, _schema(toy), known(rows), NOTHING, seed=0)
    np.testing.assert_array_equal(found.numeric, rows.numeric)
    for one, other in zip(found.categorical, rows.categorical, strict=True):
        assert [one.values[i] if i >= 0 else None for i in one.codes] == [other.values[i] if i >= 0 else None for i in other.codes]  # fmt: skip


def test_noise_in_numbers_is_of_their_deviation_and_gaps_stay(toy: Any) -> None:
    rows = _rows(20_000)
    found = with_noise(
        rows, _schema(toy), Known(np.array([2.0, 1.0]), known(rows).values), Noise(0.5, 0.0, 0.0), seed=0
    )
    added = found.numeric[:, 0] - rows.numeric[:, 0]
    assert added.std() == pytest.approx(1.0, rel=0.03)  # 0.5 of 2
    np.testing.assert_array_equal(np.isnan(found.numeric), np.isnan(rows.numeric))


def test_a_share_of_the_categories_is_replaced_by_known_ones(toy: Any) -> None:
    rows = _rows(20_000)
    seen = Known(np.zeros(2), (("blue", "green"), ()))
    column = with_noise(rows, _schema(toy), seen, Noise(0.0, 0.3, 0.0), seed=0).categorical[0]
    there = column.codes >= 0
    np.testing.assert_array_equal(there, rows.categorical[0].codes >= 0)
    names = np.array(column.values)[column.codes[there]]
    assert (names != "red").mean() == pytest.approx(0.3, abs=0.02)
    assert set(names) == {"red", "blue", "green"}


def test_a_share_of_the_words_is_dropped_or_misspelt(toy: Any) -> None:
    rows = _rows(8000)
    column = with_noise(rows, _schema(toy), known(rows), Noise(0.0, 0.0, 0.4), seed=0).categorical[1]
    np.testing.assert_array_equal(column.codes >= 0, rows.categorical[1].codes >= 0)
    whole = np.mean([sum(w in column.values[i].split() for w in ("one", "two", "three", "four")) for i in column.codes if i >= 0])  # fmt: skip
    assert 4 - whole == pytest.approx(1.6, abs=0.1)  # 0.4 of four words, less a letter that was typed by chance
    lengths = np.mean([len(column.values[i].split()) for i in column.codes if i >= 0])
    assert 4 - lengths == pytest.approx(0.4, abs=0.05)  # a fourth of the harmed ones is gone


def test_every_harm_is_repeatable(toy: Any) -> None:
    rows = _rows()
    one, two, other = (
        with_noise(rows, _schema(toy), known(rows), NOISE["middle"], seed=seed).categorical[1] for seed in (1, 1, 2)
    )
    assert one.values == two.values
    assert one.values != other.values


def test_one_feature_is_missing_in_every_row_and_others_stay(toy: Any) -> None:
    rows = _rows()
    found = without(rows, _schema(toy), "z")
    assert np.isnan(found.numeric[:, 1]).all()
    np.testing.assert_array_equal(found.numeric[:, 0], rows.numeric[:, 0])
    gone = without(rows, _schema(toy), "t")
    assert (gone.categorical[1].codes == -1).all()
    np.testing.assert_array_equal(gone.categorical[0].codes, rows.categorical[0].codes)


def test_a_share_of_all_features_is_missing(toy: Any) -> None:
    rows = _rows(20_000)
    found = with_gaps(rows, _schema(toy), 0.25, seed=0)
    assert np.isnan(found.numeric[:, 0]).mean() == pytest.approx(0.25, abs=0.02)
    assert (found.categorical[0].codes[::2] < 0).mean() == pytest.approx(0.25, abs=0.02)


def test_noise_is_named_for_the_kinds_that_there_are(toy: Any) -> None:
    assert (
        noise_of(_schema(toy), "middle") == "numbers ± 0.3 deviations, 15% of categories replaced, 15% of words harmed"
    )
    assert noise_of(toy.problem({"t": "text"}).schema, "weak") == "5% of words harmed"


def test_noise_on_pictures_is_of_their_deviation_and_reaches_what_is_told_of_regions(toy: Any) -> None:
    table = toy.media(rows=400)
    rows, schema = table.train, table.problem.schema
    found = with_noise(rows, schema, known(rows), Noise(0.2, 0.0, 0.0), seed=0)
    (before,), (after,) = rows.pictures, found.pictures
    added = after.pixels[1:].astype(float) - before.pixels[1:]
    assert added.std() == pytest.approx(10.0, rel=0.02)  # 0.2 of 50
    np.testing.assert_array_equal(after.pixels[0], before.pixels[0])  # there is none
    strong = with_noise(rows, schema, known(rows), Noise(2.0, 0.0, 0.0), seed=0)
    shares = [np.mean(a.codes != b.codes) for a, b in zip(strong.categorical[1:], rows.categorical[1:], strict=True)]
    assert min(shares) > 0
    assert all(c.codes[0] == -1 for c in strong.categorical[1:])
    assert noise_of(schema, "middle") == "numbers ± 0.3 deviations, 15% of words harmed, pixels ± 0.3 deviations"


def test_a_missing_region_is_blank_and_a_picture_without_regions_is_missing(toy: Any) -> None:
    table = toy.media()
    rows, schema = table.train, table.problem.schema
    found = without(rows, schema, "p1")  # above on the right
    pixels = found.pictures[0].pixels
    assert (pixels[:, :, :8, 8:] == 100).all()
    np.testing.assert_array_equal(pixels[:, :, :, :8], rows.pictures[0].pixels[:, :, :, :8])
    assert (found.categorical[2].codes == -1).all()
    np.testing.assert_array_equal(found.categorical[1].codes, rows.categorical[1].codes)
    np.testing.assert_array_equal(found.pictures[0].there, rows.pictures[0].there)
    assert not with_gaps(rows, schema, 1.0, seed=0).pictures[0].there.any()


def test_changed_texts_are_encoded_anew_and_gaps_keep_their_vectors(toy: Any) -> None:
    table = toy.media()
    rows, schema = table.train, table.problem.schema
    noisy = with_noise(rows, schema, known(rows), Noise(0.0, 0.0, 1.0), seed=0)
    assert noisy.categorical[0].vectors is None
    assert encoded(noisy, schema, None) is noisy
    made = encoded(
        noisy, schema, lambda encoder, texts: np.full((len(texts), encoder.dimensions), len(texts), np.float32)
    )
    assert made.categorical[0].vectors is not None
    assert made.categorical[0].vectors.shape == (len(set(made.categorical[0].values)), 6)
    gone = without(rows, schema, "e").categorical[0]
    assert gone.vectors is rows.categorical[0].vectors
    assert (gone.codes == -1).all()


def test_a_text_and_what_an_encoder_makes_of_it_are_misspelt_alike(toy: Any) -> None:
    schema = toy.problem({"t": "text", "e": "embedding"}).schema
    text, other = (replace(f, column="t") for f in schema.features)
    words = Codes(np.arange(50, dtype=np.int32), tuple(f"one two {i}" for i in range(50)))
    rows = Columns(np.zeros((50, 0)), (words, words), None, np.arange(50))
    found = with_noise(rows, replace(schema, features=(text, other)), known(rows), Noise(0.0, 0.0, 0.5), seed=0)
    first, second = found.categorical
    assert [first.values[i] for i in first.codes] == [second.values[i] for i in second.codes]
    assert [first.values[i] for i in first.codes] != list(words.values)


def test_what_a_text_mentions_keeps_its_mark() -> None:
    words = Codes(np.zeros(100, np.int32), (f"says {MARK} rises",))
    found = _misspelt(words, 1.0, np.random.default_rng(0))
    assert all(MARK in found.values[i] for i in found.codes)


def test_what_an_encoder_made_of_pictures_gets_noise_of_its_own_deviation(toy: Any) -> None:
    schema = toy.problem({"e": "embedding"}).schema
    encoder = Pretrained(
        sha256="0" * 64, dimensions=2, pooling="mean", normalise=False, max_tokens=0, parameters=1, matrices=0,
        sight=Sight(channels=3, height=8, width=8, macs=1),
    )  # fmt: skip
    schema = replace(schema, features=(replace(schema.features[0], encoder=encoder),))
    vectors = np.array([[0.0, 0.0], [2.0, 20.0]], np.float32)  # deviations 1 and 10
    codes = np.tile(np.array([0, 1, -1], np.int32), 4000)
    rows = Columns(np.zeros((12_000, 0)), (Codes(codes, ("a", "b"), vectors),), None, np.arange(12_000))
    found = with_noise(rows, schema, known(rows), Noise(0.5, 0.0, 0.0), seed=0).categorical[0]
    np.testing.assert_array_equal(found.codes < 0, codes < 0)
    assert found.vectors is not None
    there = codes >= 0
    added = found.vectors[found.codes[there]] - vectors[codes[there]]
    np.testing.assert_allclose(added.std(axis=0), [0.5, 5.0], rtol=0.03)
    assert [found.values[i] for i in found.codes[there]] == [("a", "b")[i] for i in codes[there]]
    assert noise_of(schema, "middle") == "vectors of pictures ± 0.3 deviations"
    assert columns_of(rows, schema.features)[0].codes.tolist()[:3] == [0, 0, -1]  # type: ignore[union-attr]  # codes
    region = replace(schema.features[0], name="r", kind="region", encoder=None)
    assert of_columns(replace(schema, features=(region, *schema.features))) == ([0], [])
    assert of_columns(schema) == ([0], [])  # nothing else to read
