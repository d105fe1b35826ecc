"""The words of a text in their order, encoded at a width."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abi.data.columns import Codes
from abi.data.words import LEAST_WORDS, MOST_WORDS, reading_of
from abi.inputs import sequence
from abi.inputs.kind import WIDTHS, Sizes
from abi.inputs.sequence import PADDING, UNKNOWN, SequenceEncoder, Words, encode, learn_words
from abi.inputs.terms import ordered_pairs
from abi.inputs.windows import channels
from abi.problem import Feature, Reading

FEATURE = Feature(
    name="t:sequence", column="t", kind="sequence", distinct=9, missing_share=0.0, words=Reading(length=8, known=500)
)


def _codes(*texts: str | None) -> Codes:
    values = tuple(dict.fromkeys(text for text in texts if text is not None))
    return Codes(np.array([-1 if t is None else values.index(t) for t in texts], np.int32), values)


def test_a_width_costs_the_table_and_the_convolutions() -> None:
    for rung in sequence.rungs(FEATURE, Sizes(bins=0), True):
        built = SequenceEncoder(rung.rows, rung.width)
        assert sum(p.numel() for p in built.parameters()) == rung.encoder_parameters
        assert sum(channels(rung.width).values()) == rung.width
    found = sequence.rungs(FEATURE, Sizes(bins=0), True)
    assert [r.width for r in found] == list(WIDTHS)
    assert [r.encoder_parameters for r in found] == sorted(r.encoder_parameters for r in found)
    assert found[0].rows == 256
    assert found[-1].rows == 502
    # width 3: a channel each over 4, 3 and 2 words of 8 numbers, at 5, 6 and 7 places
    assert found[2].macs == 8 * (4 * 5 + 3 * 6 + 2 * 7)
    assert sequence.step(FEATURE, 8, Sizes(bins=0, most=64)).rows == 64


def test_words_are_those_of_training_rows_the_most_frequent_first() -> None:
    codes = Codes(np.array([0, 0, 1, -1], np.int32), ("b b a", "C a!", "never seen"))
    assert learn_words("t", codes, 99).words == ("b", "a", "!", "c")
    assert learn_words("t", codes, 4).words == ("b", "a")
    assert learn_words("t", codes, 2).words == ()


def test_texts_become_rows_of_the_table() -> None:
    cells = encode(_codes("A b zzz", None, "", "b b b b b b"), Words(feature="t", words=("a", "b")), 5)
    found = cells.words.index_select(0, cells.text)
    assert found.tolist() == [
        [2, 3, UNKNOWN, PADDING, PADDING],
        [PADDING] * 5,
        [PADDING] * 5,
        [3] * 5,
    ]
    assert cells.take(torch.tensor([3])).text.tolist() == [int(cells.text[3])]


def test_nothing_but_missing_texts_can_be_encoded() -> None:
    cells = encode(_codes(None, None), Words(feature="t", words=()), 4)
    assert SequenceEncoder(2, 3).eval()(cells).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("width", [1, 2, 8])
def test_texts_without_words_are_zero_and_the_order_of_words_tells(width: int) -> None:
    torch.manual_seed(0)
    words = Words(feature="t", words=("a", "x", "b"))
    encoder = SequenceEncoder(5, width).eval()
    found = encoder(encode(_codes("a x b", "b x a", "", None), words, 6))
    assert found.shape == (4, width)
    assert found[2:].abs().max() == 0
    if width > 1:
        assert not torch.allclose(found[0], found[1])


def test_padding_changes_nothing_and_only_its_row_never_learns() -> None:
    torch.manual_seed(0)
    words = Words(feature="t", words=("a", "b"))
    encoder = SequenceEncoder(4, 8)
    texts = _codes("a b a zzz", "b")
    short, long = (encoder.eval()(encode(texts, words, n)) for n in (7, 30))
    assert torch.allclose(short, long, atol=1e-6)
    encoder.train()(encode(texts, words, 7)).sum().backward()
    gradient = encoder.table.weight.grad
    assert gradient is not None
    assert gradient[PADDING].abs().max() == 0
    assert gradient[UNKNOWN].abs().max() > 0


def test_channels_are_left_out_in_training_alone() -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(4, 12)
    cells = encode(_codes(*["a b a b"] * 50), Words(feature="t", words=("a", "b")), 4)
    plain = encoder.eval()(cells, 0.5)
    assert torch.equal(plain, encoder(cells))
    share = (encoder.train()(cells, 0.5)[:, plain[0] > 0] == 0).float().mean()
    assert 0.35 < float(share) < 0.65


def test_what_is_read_follows_the_texts() -> None:
    assert reading_of(["a b", "a c c c c c"]) == Reading(length=6, known=3)
    assert reading_of([]) == Reading(length=LEAST_WORDS, known=0)
    assert reading_of(["w " * 1000]).length == MOST_WORDS


def test_order_is_told_up_to_three_places_on() -> None:
    assert ordered_pairs("A b c d e") == [
        *"abcde",
        *("a 1 b", "b 1 c", "c 1 d", "d 1 e"),
        *("a 2 c", "b 2 d", "c 2 e"),
        *("a 3 d", "b 3 e"),
    ]
