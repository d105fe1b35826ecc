"""Features that share a row: the regions of a media column, the windows of a channel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abi.problem import Behaviour, Derivation, Feature, Grid, Schema
from abi.report.groups import by_group, channel_of, division_of, grouped, most_of
from abi.trees_capacity import TreeFeature

PHOTO = Grid(
    column="photo", medium="image", channels=3, height=16, width=16, rows=2, cols=2, mean=(90.0,) * 3, deviation=(40.0,) * 3
)  # fmt: skip


def _schema(*names: str, grids: tuple[Grid, ...] = ()) -> Schema:
    features = [Feature(name=n, column=n, kind="numeric", distinct=9, missing_share=0.0) for n in names]
    features += [
        Feature(name=f"{g.column}[{r},{c}]", column=g.column, kind="region", distinct=9, missing_share=0.0, place=2 * r + c - 3)
        for g in grids
        for r in (1, 2)
        for c in (1, 2)
    ]  # fmt: skip
    return Schema(target="y", task="regression", classes=(), features=tuple(features), set_aside=(), grids=grids)


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("speed@lag3", "speed"),
        ("speed@mean8", "speed"),
        ("a@b@std", "a@b"),
        ("speed", None),
        ("me@home.example", None),
        ("@lag1", None),
    ],
)
def test_names_of_windows(name, channel):
    assert channel_of(name) == channel


def test_regions_windows_and_single_features():
    groups = grouped(_schema("speed@lag1", "age", "speed", "speed@mean8", "alone@lag1", grids=(PHOTO,)))
    assert [(g.name, g.what, len(g.members)) for g in groups] == [
        ("speed", "windows", 3),
        ("age", "feature", 1),
        ("alone@lag1", "feature", 1),
        ("photo", "picture", 4),
    ]
    assert [groups[0].short(m) for m in groups[0].members] == ["lag1", "now", "mean8"]
    assert [groups[3].short(m) for m in groups[3].members] == ["[1,1]", "[1,2]", "[2,1]", "[2,2]"]
    assert [g.counted for g in groups] == ["3 windows", "", "", "4 regions"]


def test_what_is_known_of_a_user_is_no_window():
    behaviour = Behaviour(user="who", item="what", history="train")
    schema = _schema("who", "who@mean", "who@count", "what@mean", "speed", "speed@lag1")
    schema = replace(schema, derivation=Derivation(order="t", behaviour=behaviour))
    groups = grouped(schema)
    assert [(g.name, g.counted) for g in groups] == [("who", "3 figures"), ("what@mean", ""), ("speed", "2 windows")]
    assert [groups[0].short(m) for m in groups[0].members] == ["itself", "mean", "count"]


def test_groups_follow_the_order_of_the_names_and_unknown_ones_stay_alone():
    found = by_group(_schema("age", grids=(PHOTO,)), ["photo[2,2]", "other", "age", "photo[1,1]"])
    assert [(g.name, names) for g, names in found.items()] == [
        ("photo", ["photo[2,2]", "photo[1,1]"]),
        ("other", ["other"]),
        ("age", ["age"]),
    ]


def test_totals_and_where_most_is():
    (group,) = grouped(_schema(grids=(PHOTO,)))
    values = {"photo[1,1]": 0.125, "photo[2,1]": 0.5, "photo[2,2]": 0.25}
    assert group.total(values) == 0.875
    assert most_of(group, values, "attention") == "4 regions, most attention in [2,1] and [2,2]"
    assert most_of(group, {}, "attention") == "4 regions, the same attention in all"


def test_what_windows_were_given_in_trees(make_report, small_trees):
    report = make_report({"speed": 0.4, "speed@lag1": 0.2})
    (group,) = grouped(report.plan.attention.scores.problem.schema)
    given = tuple(
        TreeFeature(feature=name, bins=9, contribution=c, treatment="numeric", reason="")
        for name, c in (("speed", 1.0), ("speed@lag1", 0.0))
    )
    empty = replace(report.plan.capacity, features=(), members=0, blocks=0)
    trees = replace(small_trees, features=given)
    plan = replace(report.plan, capacity=empty, trees=trees)
    assert plan.capacity.empty
    assert division_of(plan, group).endswith("; 1 given nothing")
    none = replace(trees, features=tuple(replace(f, contribution=0.0) for f in given))
    assert division_of(replace(plan, trees=none), group) == "2 windows, nothing given"


def test_what_a_picture_was_given(make_report):
    plan = make_report({"age": 0.4}, grids=(PHOTO,)).plan
    picture = grouped(plan.attention.scores.problem.schema)[1]
    # levels 0, 1, 2 and 3 of 4; with 8 channels and 64 pixels a region, by hand:
    # level 4: 9 64 (3 8 + 8 8) + 9 16 (8 16 + 16 16) + 9 4 (16 32 + 32 32) = 50,688 + 55,296 + 55,296
    # level 3: 9 64 (3 6 + 6 6) + 9 16 (6 12 + 12 12) + 9 4 (12 24 + 24 24) = 31,104 + 31,104 + 31,104
    # level 2: 9 64 (3 4 + 4 4) + 9 16 (4 8 + 8 8) + 9 4 (8 16 + 16 16) = 16,128 + 13,824 + 13,824
    # level 1: 9 64 (3 2 + 2 2) + 9 16 (2 4 + 4 4) + 9 4 (4 8 + 8 8) = 5,760 + 3,456 + 3,456
    share = (93_312 + 43_776 + 12_672) / (4 * 161_280)
    assert round(100 * share, 1) == 23.2
    assert (
        division_of(plan, picture) == "4 regions, 23.2% of the multiply-accumulates, most attention in [2,2] and [2,1]"
    )
