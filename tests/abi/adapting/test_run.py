from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from abi.adapting.checkpoint import pack, restore
from abi.adapting.plans import Planning
from abi.adapting.run import Run, conclude
from abi.documents import document, read_document


def test_a_concept_that_turns_round_is_learned_anew(brook):
    decided = []
    config = brook.config(adapt__replay=150)
    run = brook.finished(
        brook.flip(800, 400), config, decided=lambda made, attention, plans: decided.append((made, attention, plans))
    )
    found = conclude(run, "0" * 64, None)
    adapted, never = found.contender("adapted"), found.contender("never adapted")
    assert adapted.overall > never.overall + 0.1
    assert adapted.window > 0.8
    assert never.window < 0.5
    assert found.scored == 700
    assert [a.number for a in found.adaptations] == list(range(len(decided)))
    first, *others = found.adaptations
    assert (first.row, first.causes, first.first, first.last) == (100, ("start",), 0, 99)
    errors = [a for a in others if "error" in a.causes]
    assert errors
    assert 400 < errors[0].row <= 600
    made, attention, plans = decided[errors[0].number]
    assert made.attention == attention.id
    assert made.plans == {name: plan.id for name, plan in plans.items()}
    assert made.plans_before == found.adaptations[made.number - 1].plans
    assert made.carried > 0.5
    limit = config.envelope.parameters
    assert all(a.predicted.parameters <= limit for a in found.adaptations)
    assert read_document(document(found)) == found


def test_the_future_changes_nothing_of_the_past(brook):
    table, at = brook.flip(500, 250), 300
    later = table.copy()
    later.loc[at:, "y"] = np.where(later.loc[at:, "y"] == "yes", "no", "yes")
    later.loc[at:, ["a", "b"]] = later.loc[at:, ["a", "b"]].to_numpy()[::-1]
    config = brook.config()
    says = [brook.finished(t, config).trail.says["adapted"][:at] for t in (table, later)]
    assert np.array_equal(*says)


def test_labels_that_come_late_are_used_late(brook):
    """With a delay of 60 rows the last label is not known, so a target that only repeats itself cannot be told."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.normal(size=400), "y": np.where(np.arange(400) // 20 % 2 == 0, "u", "d")})
    soon, late = (
        conclude(brook.finished(table, brook.config(adapt__label_delay=delay)), "0" * 64, None) for delay in (1, 21)
    )
    assert soon.contender("persistence").overall == pytest.approx(0.95)
    assert late.contender("persistence").overall < 0.1
    assert soon.contender("adapted").overall > 0.9


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(brook):
    table, config = brook.flip(500, 250), brook.config()
    straight = brook.finished(table, config)
    whole = conclude(straight, "0" * 64, None)
    run = brook.run(table, config)
    while run.row < 400:
        run.step()
    data = pack(run)
    again = Run(brook.open(table, config)[0], Planning(brook.machine, config))
    assert restore(again, data)
    assert again.row == run.row
    while not again.done:
        again.step()
    for name, column in straight.trail.lost.items():
        assert np.array_equal(column, again.trail.lost[name], equal_nan=True), name
    for name, column in straight.trail.says.items():
        assert np.array_equal(column, again.trail.says[name], equal_nan=True), name
    found = conclude(again, "0" * 64, None)
    for one, other in zip(whole.contenders, found.contenders, strict=True):
        assert one == other
    same = {"seconds": 0.0, "row_s": 0.0}
    assert replace(found, **same) == replace(whole, **same)


def test_a_damaged_or_older_checkpoint_is_not_gone_on_from(brook):
    table, config = brook.flip(), brook.config()
    run = brook.run(table, config)
    data = pack(run)
    fresh = Run(brook.open(table, config)[0], Planning(brook.machine, config))
    assert not restore(fresh, b"")
    assert not restore(fresh, data[: len(data) // 2])
    assert fresh.row == 100


def test_a_class_that_comes_late_is_learned_and_said(brook):
    table = brook.flip(500, 500)
    table.loc[200:, "y"] = np.where(table.loc[200:, "b"] > 0.3, "new", table.loc[200:, "y"])
    found = conclude(brook.finished(table, brook.config()), "0" * 64, None)
    told = [a for a in found.adaptations if "classes" in a.causes]
    assert told[0].classes == ("new",)
    assert 200 < told[0].row <= 300
    assert found.late == 1
    assert found.contender("adapted").window > found.contender("never adapted").window


def test_rows_without_a_label_are_predicted_and_not_scored(brook):
    table = brook.flip(400, 400)
    table.loc[np.arange(120, 400, 7), "y"] = None
    run = brook.finished(table, brook.config())
    found = conclude(run, "0" * 64, None)
    assert found.skipped == table["y"].iloc[100:].isna().sum()
    assert found.scored + found.skipped == 300
    assert (run.trail.says["adapted"][100:] >= 0).all()


def test_numbers_have_an_error_and_trees_of_the_change(brook):
    random = np.random.default_rng(0)
    steps = random.normal(size=600)
    table = pd.DataFrame({"a": steps, "b": random.normal(size=600), "y": np.cumsum(steps)})
    found = conclude(brook.finished(table, brook.config(adapt__rounds=40)), "0" * 64, None)
    assert found.metric == "rmse"
    names = [c.name for c in found.contenders]
    assert names == ["adapted", "never adapted", "persistence", "mean", "network alone", "trees alone", "change alone"]
    assert found.contender("persistence").overall == pytest.approx(1.0, abs=0.15)
    assert found.contender("change alone").overall < 0.7
    assert found.contender("adapted").overall < found.contender("persistence").overall


def test_text_is_for_the_network_alone(brook):
    random = np.random.default_rng(0)
    rows = 300
    good = random.random(rows) < 0.5
    words = [[f"w{i}" for i in random.integers(0, 40, 5)] + ["fine" if g else "poor"] for g in good]
    table = pd.DataFrame({"note": [" ".join(w) for w in words], "y": np.where(good, "yes", "no")})
    config = brook.config(data__columns={"note": "text"}, adapt__epochs=10)
    run = brook.run(table, config)
    run.step()
    again = Run(brook.open(table, config)[0], Planning(brook.machine, config))
    assert restore(again, pack(run))
    while not again.done:
        again.step()
    found = conclude(again, "0" * 64, None)
    assert set(found.adaptations[0].plans) == {"network"}
    assert found.contender("adapted").overall > 0.8
