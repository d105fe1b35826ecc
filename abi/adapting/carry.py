"""Weights of what stayed: a network that was planned anew starts from the one before, feature by feature.

An encoder is taken over where the feature has the same knots or values beside it (a category's known values keep their rows), the
backbone's columns where the feature's embedding is read by the same hidden units, and the head class by class. Whatever is
of another width is taken over in the part that both have.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from abi.families.artifact import Model
from abi.families.network import Network
from abi.inputs.categorical import EXTRA_ROWS
from abi.inputs.sequence import EXTRA_ROWS as EXTRA_WORDS

Table = Float[Tensor, "_ _"]


def carry(old: Model, new: Model) -> float:
    """Take over what both have; gives the share of the new network's weights that came from the old one."""
    with torch.no_grad():
        taken = sum(_features(old, new)) + _backbone(old, new)
    return float(taken) / max(1, sum(p.numel() for p in new.network.parameters()))


def _features(old: Model, new: Model) -> Iterator[int]:
    """Encoders and attention, one feature after the other."""
    places = [{f.name: i for i, f in enumerate(m.schema.features)} for m in (old, new)]
    before, after = _numeric(old.network), _numeric(new.network)
    for name in before.keys() & after.keys():
        for source, target, knots in zip(before[name][0], after[name][0], (True, False, False, False), strict=True):
            if knots and not np.array_equal(before[name][1], after[name][1]):
                yield _interpolated(source, target, before[name][1], after[name][1])
            else:
                yield _overlap(source, target)
    rows = _categories(old), _categories(new)
    for name in rows[0].keys() & rows[1].keys():
        for value, target in rows[1][name].items():
            if value in rows[0][name]:
                yield _overlap(rows[0][name][value], target)
    yield from _sequences(old, new)
    for name in places[0].keys() & places[1].keys():
        new.network.attention.offset[places[1][name]] = old.network.attention.offset[places[0][name]]
        yield 1


def _numeric(network: Network) -> dict[str, tuple[list[Table], np.ndarray]]:
    """Feature -> (increments, slope, base, missing) as views, and its knots."""
    encoder = network.numeric
    if encoder is None:
        return {}
    found: dict[str, tuple[list[Table], np.ndarray]] = {}
    for group, (begin, end) in zip(encoder.groups.children(), encoder.spans, strict=True):
        first = 0
        for at, place in enumerate(encoder.order[begin:end]):
            edges = encoder.edges[place]
            last = first + len(edges)
            own = [
                group.get_parameter("increment").data[first:last],
                *(group.get_parameter(part).data[at : at + 1] for part in ("slope", "base", "missing")),
            ]
            found[network.places.numeric[place][1].feature] = (own, edges)
            first = last
    return found


def _categories(model: Model) -> dict[str, dict[str | int, Table]]:
    """Feature -> value -> its row as a view; the rows of rare and of missing values go by 0 and 1."""
    network = model.network
    encoder = network.category
    if encoder is None:
        return {}
    found: dict[str, dict[str | int, Table]] = {}
    for table, (begin, end) in zip(encoder.tables, encoder.spans, strict=True):
        first = 0
        for place in encoder.order[begin:end]:
            at, given = network.places.categorical[place]
            known = model.blueprint.preparation.vocabularies[at]
            names: list[str | int] = [*known, *range(EXTRA_ROWS)]
            found[given.feature] = {name: table.data[first + i : first + i + 1] for i, name in enumerate(names)}
            first += len(names)
    return found


def _sequences(old: Model, new: Model) -> Iterator[int]:
    """Texts that are read in order, where both have the same width: convolutions, and the rows of words that both know."""
    before = {c.feature: (c, e) for (_, c), e in zip(old.network.places.sequence, old.network.sequences, strict=True)}
    for (_, given), target in zip(new.network.places.sequence, new.network.sequences, strict=True):
        own, source = before.get(given.feature, (given, None))
        if source is None or own.width != given.width:
            continue
        known = old.blueprint.preparation.words_of(given.feature).words
        place = {word: row for row, word in enumerate(known, EXTRA_WORDS)}
        words = new.blueprint.preparation.words_of(given.feature).words
        rows = [(place[word], row) for row, word in enumerate(words, EXTRA_WORDS) if word in place]
        here, there = torch.tensor([(i, i) for i in range(EXTRA_WORDS)] + rows).T
        table = target.get_parameter("table.weight")
        table[there] = source.get_parameter("table.weight")[here]
        yield len(here) * table.shape[1]
        for name, tensor in target.named_parameters():
            if name.startswith("windows"):
                yield _overlap(source.get_parameter(name), tensor)


def _interpolated(source: Table, target: Table, old: np.ndarray, new: np.ndarray) -> int:
    """Increments between other knots: what they add up to is read off at the new ones."""
    total = torch.cumsum(source, 0) - source[:1]
    width = min(source.shape[1], target.shape[1])
    heights = np.stack([np.interp(new, old, total[:, i].numpy()) for i in range(width)], 1)
    steps = torch.from_numpy(np.diff(heights, axis=0, prepend=heights[:1]).astype(np.float32))
    target[:, :width] = steps
    return int(steps.numel())


def _overlap(source: Tensor, target: Tensor) -> int:
    """Copy the part that both have; gives its size."""
    both = tuple(slice(0, min(a, b)) for a, b in zip(source.shape, target.shape, strict=True))
    target[both] = source[both]
    return int(target[both].numel())


def _backbone(old: Model, new: Model) -> int:
    """Adapters, layers and heads; the columns that read embeddings go feature by feature, the outputs class by class."""
    a, b = old.network, new.network
    if len(a.layers) != len(b.layers):
        return 0
    spans = _spans(old), _spans(new)
    shared = [(spans[0][name], spans[1][name]) for name in spans[0].keys() & spans[1].keys()]
    taken = 0
    columns = [(torch.arange(*s)[:n], torch.arange(*t)[:n]) for s, t in shared for n in [min(s[1] - s[0], t[1] - t[0])]]
    source = torch.cat([s for s, _ in columns]) if columns else torch.zeros(0, dtype=torch.long)
    target = torch.cat([t for _, t in columns]) if columns else torch.zeros(0, dtype=torch.long)
    outs = _outputs(old, new)
    members = min(a.members, b.members)
    if not len(b.layers):
        for i, j in outs:
            b.head.weight[:members, target, j] = a.head.weight[:members][:, source, i]
            b.head.bias[:members, j] = a.head.bias[:members, i]
        return members * len(outs) * (len(target) + 1)
    hidden = min(a.hidden, b.hidden)
    b.adapter.weight[:members, target] = a.adapter.weight[:members][:, source]
    taken += members * len(target)
    for number, (one, two) in enumerate(zip(a.layers.children(), b.layers.children(), strict=True)):
        assert isinstance(one, nn.Linear)
        assert isinstance(two, nn.Linear)
        if number == 0:
            two.weight[:hidden, target] = one.weight[:hidden][:, source]
            taken += hidden * len(target)
        else:
            taken += _overlap(one.weight, two.weight)
        taken += _overlap(one.bias, two.bias)
    for i, j in outs:
        b.head.weight[:members, :hidden, j] = a.head.weight[:members, :hidden, i]
        b.head.bias[:members, j] = a.head.bias[:members, i]
    return taken + members * len(outs) * (hidden + 1)


def _spans(model: Model) -> dict[str, tuple[int, int]]:
    """Feature -> where its embedding lies in the input of the backbone."""
    owner = model.network.feature_of.tolist()
    names = [f.name for f in model.schema.features]
    found: dict[str, tuple[int, int]] = {}
    for at, place in enumerate(owner):
        begin, _ = found.get(names[place], (at, at))
        found[names[place]] = (begin, at + 1)
    return found


def _outputs(old: Model, new: Model) -> list[tuple[int, int]]:
    """Which output of the old network is which of the new one."""
    a, b = old.schema, new.schema
    if a.task != b.task or a.task != "multiclass":
        return [(0, 0)] if a.task == b.task and a.classes == b.classes else []
    return [(a.classes.index(name), j) for j, name in enumerate(b.classes) if name in a.classes]
