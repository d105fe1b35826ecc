"""Held-out texts with what the network made of their terms.

A term's contribution is the gradient of the predicted class's logit, over the mean of the others', with respect to the text's
embedding, times the term's part of that embedding (the text's own length kept as it is). Where no layer lies between
embeddings and output the gradient is the same everywhere, so that the contributions add up to the text's share of the
logit; elsewhere they are its first-order part (gradient times input, Shrikumar et al. 2016, arXiv 1605.01713).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from abi.data.words import spans
from abi.families.artifact import Model as NetworkModel
from abi.inputs.terms import group_of, located
from abi.inputs.text import TextEncoder
from abi.metrics import HALF, at_half
from abi.report.exhibits import TextExample
from abi.report.wording import number

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.families.family import Model
    from abi.problem import Schema

ROWS: Final = 2000
"""Held-out rows that examples are chosen from."""
RIGHT: Final = 3
WRONG: Final = 3
WORDS: Final = 60
TERMS: Final = 4
"""Terms that are named for and against."""
LEAST_WORDS: Final = 4
_SHOWN: Final = 4
"""Decimals that a contribution is kept with."""


def text_examples(model: Model, network: NetworkModel, test: Columns) -> tuple[TextExample, ...]:
    """For each text column some rows that are predicted rightly and some that are not.

    Args:
        model: the whole one, whose predictions are shown.
        network: it, or its part that reads texts.
        test: held-out rows; the first 2,000 of them are looked at.
    """
    schema = network.schema
    places = network.network.places.text
    if not places or not len(test):
        return ()
    used = test.take(np.arange(min(len(test), ROWS)))
    chance, targets = model.predict_columns(used), np.asarray(used.target).tolist()
    decided = chance if model.thresholds is None else at_half(chance, model.thresholds)
    found: list[TextExample] = []
    for number_, (place, given) in enumerate(places):
        codes = used.categorical[place]
        texts = ["" if code < 0 else codes.values[code] for code in codes.codes]
        rows = chosen(schema, decided, np.asarray(used.target), [len(spans(text)) for text in texts])
        if not rows:
            continue
        signs = _signs(schema, chance[rows])
        read = contributions(network, number_, used.take(np.array(rows)), signs)
        for row, terms in zip(rows, read, strict=True):
            found.append(_example(schema, given.feature, texts[row], decided[row], chance[row], targets[row], terms))
    return tuple(found)


def chosen(
    schema: Schema, predicted: Float[np.ndarray, "rows ..."], target: np.ndarray, words: Sequence[int]
) -> list[int]:
    """Rows to show, the right ones first: of different classes, and the mistakes that the model was most sure of.

    Of a value: the lowest, the middle and the highest prediction, and the three that are furthest off. Labels are
    `predicted` from one half on.
    """
    able = np.flatnonzero(np.asarray(words) >= LEAST_WORDS)
    if not len(able):
        return []
    if schema.task == "regression":
        order = able[np.argsort(predicted[able], kind="stable")]
        picked = [int(order[round(q * (len(order) - 1))]) for q in (0.0, 0.5, 1.0)]
        off = able[np.argsort(-np.abs(predicted[able] - target[able]), kind="stable")][:WRONG]
        return list(dict.fromkeys([*picked, *map(int, off)]))
    classes, sure = predicted.argmax(axis=1), predicted.max(axis=1)
    several = schema.task == "multilabel"
    right = ((predicted >= HALF) == target.astype(bool)).all(axis=1) if several else classes == target
    hits = able[right[able]]
    firsts: dict[int, list[int]] = {}
    for row in hits:
        firsts.setdefault(int(classes[row]), []).append(int(row))
    turns = [rows[turn] for turn in range(RIGHT) for rows in firsts.values() if len(rows) > turn]
    misses = able[~right[able]]
    return [*turns[:RIGHT], *map(int, misses[np.argsort(-sure[misses], kind="stable")][:WRONG])]


def _signs(schema: Schema, predicted: Float[np.ndarray, "rows ..."]) -> Float[Tensor, "rows outputs"]:
    """What each output counts for: the predicted class's logit less the mean of the others'."""
    if schema.task == "regression":
        return torch.ones(len(predicted), 1)
    best = torch.from_numpy(predicted.argmax(axis=1))
    if schema.task == "binary":
        return (2.0 * best - 1).float().unsqueeze(1)
    count = predicted.shape[1]
    others = torch.full((len(predicted), count), -1 / max(1, count - 1))
    return others.scatter_(1, best.unsqueeze(1), 1.0)


def contributions(
    model: NetworkModel, number_: int, columns: Columns, signs: Float[Tensor, "rows outputs"]
) -> list[dict[str, float]]:
    """Each row's terms with what they add to the outputs, weighed by `signs` and averaged over the members.

    Args:
        model: a network with texts.
        number_: of the text among them.
        columns: rows.
        signs: what each output counts for.
    """
    network = model.network
    network.eval()
    _, given = network.places.text[number_]
    encoder = network.texts[number_]
    assert isinstance(encoder, TextEncoder)
    place = next(i for i, f in enumerate(model.schema.features) if f.name == given.feature)
    cells = network.encode(columns)
    embedding = network.embed(cells).detach().requires_grad_(True)
    outputs = network.attend(embedding).mean(1)
    (gradient,) = torch.autograd.grad((outputs * signs).sum(), embedding)
    mine = gradient[:, network.feature_of == place].detach()
    table = encoder.table().detach()
    terms = model.blueprint.preparation.lexicons[given.feature].terms
    scale = model.blueprint.preparation.target_deviation if model.schema.task == "regression" else 1.0
    bag = cells.texts[number_]
    found = []
    for row in range(len(columns)):
        ids, weights, _ = bag.take(torch.tensor([row])).gather()
        parts = weights.unsqueeze(1) * table[ids]
        length = parts.sum(0).norm()
        unit = 1.0 if encoder.width == 1 else math.sqrt(encoder.width) / (float(length) + 1e-6)
        added = (parts @ mine[row]) * unit * scale
        found.append({terms[i]: float(v) for i, v in zip(ids.tolist(), added.tolist(), strict=True)})
    return found


def by_word(words: Sequence[str], terms: Mapping[str, float]) -> list[float]:
    """What each word adds: its own term and pieces, and half of each pair that it stands in.

    A term that occurs several times is shared by its occurrences, so that the words add up to the terms.
    """
    found = list(located(words, any(group_of(term) == 1 for term in terms)))
    times = Counter(term for term, _ in found)
    shares = [0.0] * len(words)
    for term, places in found:
        for place in places:
            shares[place] += terms.get(term, 0.0) / times[term] / len(places)
    return shares


def _example(
    schema: Schema, feature: str, text: str, predicted: Any, chance: Any, truth: Any, terms: Mapping[str, float]
) -> TextExample:
    found = spans(text)
    shares = by_word([word for word, _, _ in found], terms)
    start = _best_window(np.abs(shares))
    shown = found[start : start + WORDS]
    ends = [found[i - 1][2] if i else 0 for i in range(start, start + len(shown))]
    order = sorted((t for t in terms if terms[t] and group_of(t) == 0), key=lambda t: -terms[t])
    named = [t for t in order[:TERMS] if terms[t] > 0] + [t for t in order[-TERMS:] if terms[t] < 0]
    return TextExample(
        feature=feature,
        truth=_said(schema, truth),
        predicted=_said(schema, predicted if schema.task in ("regression", "multilabel") else predicted.argmax()),
        probability=None if schema.task == "regression" else round(float(chance.max()), _SHOWN),
        words=tuple(text[end:stop] for end, (_, _, stop) in zip(ends, shown, strict=True)),
        contributions=tuple(round(v, _SHOWN) for v in shares[start : start + WORDS]),
        terms=tuple(named),
        shares=tuple(round(terms[t], _SHOWN) for t in named),
        cut=len(found) > WORDS,
    )


def _said(schema: Schema, answer: Any) -> str:
    """A value, a class by its number, or the labels from one half on."""
    if schema.task == "regression":
        return number(float(answer))
    if schema.task == "multilabel":
        return ", ".join(name for name, share in zip(schema.classes, answer, strict=True) if share >= HALF) or "none"
    return schema.classes[int(answer)]


def _best_window(shares: Float[np.ndarray, " words"]) -> int:
    """Where the stretch of so many words starts that says most."""
    if len(shares) <= WORDS:
        return 0
    sums = np.convolve(shares, np.ones(WORDS), "valid")
    return int(np.argmax(sums))
