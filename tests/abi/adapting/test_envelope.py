"""What is heard along a stream stays within the envelope together, a champion among it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from abi.adapting.checkpoint import pack, restore
from abi.adapting.ending import mixture
from abi.adapting.learner import CHAMPION, SILENT, ChampionModel
from abi.adapting.plans import Planning
from abi.adapting.run import ADAPTED, NEVER, Run
from abi.data.columns import encode
from abi.errors import PlanInfeasible
from tests.abi.adapting.conftest import Brook

SETTINGS = {"adapt__experts": ["network", "trees"], "adapt__warmup": 120}
LIMIT = 6_000


@pytest.fixture(scope="module")
def champion(toy):
    """A model that followed a stream, and what it costs."""
    brook = Brook(toy.machine)
    config = brook.config(**SETTINGS, envelope__parameters=1_500)
    run = brook.finished(brook.flip(200), config)
    run.finish()
    made = mixture(run)
    return made, replace(run.learner.cost, parameters=made.parameters, latency_s=0.001)


def begun(brook, champion, config, cost):
    stream, _ = brook.open(brook.flip(240, seed=1), config)
    columns = encode(stream.table, champion.schema, with_target=False)
    model = ChampionModel(columns, stream.places(champion.schema), champion, None, champion.schema, cost=cost)
    run = Run(stream, Planning(brook.machine, config), model)
    run.start()
    return run


def followed(brook, champion, config, cost):
    run = begun(brook, champion, config, cost)
    while not run.done:
        run.step()
    run.finish()
    return run


def test_own_models_get_what_the_champion_leaves(brook, champion):
    made, cost = champion
    config = brook.config(**SETTINGS, envelope__parameters=LIMIT)
    run = followed(brook, made, config, cost)
    ended = mixture(run)
    assert CHAMPION in ended.parts
    assert 0 < ended.parameters <= LIMIT
    assert all(plan.envelope.parameters == (LIMIT - cost.parameters) // 2 for plan in run.learner.own.plans.values())
    assert run.trail.adaptations[-1].predicted.parameters <= LIMIT
    assert run.learner.notes == []


@pytest.mark.parametrize("limits", [{"parameters": 1_300}, {"latency": "1.5ms"}])
def test_a_champion_that_leaves_too_little_is_compared_with_and_not_heard(brook, champion, limits):
    made, cost = champion
    config = brook.config(**SETTINGS, **{f"envelope__{name}": limit for name, limit in limits.items()})
    if "parameters" in limits:
        assert cost.parameters > limits["parameters"] / 2
    run = followed(brook, made, config, cost)
    ended = mixture(run)
    assert CHAMPION not in ended.parts
    assert ended.parameters <= limits.get("parameters", np.inf)
    assert run.learner.notes == [SILENT]
    begin = run.trail.adaptations[0].row
    shares = {row: held[CHAMPION] for row, held in run.trail.shares.items()}
    assert all((share == 0) == (row >= begin) for row, share in shares.items()), shares
    assert (run.trail.says[CHAMPION][run.begin :] >= 0).all()  # and still asked, for its figure
    assert (run.trail.says[ADAPTED][run.begin : begin] == run.trail.says[NEVER][run.begin : begin]).all()


def test_where_nothing_fits_beside_a_champion_it_is_silent(brook, champion):
    """A larger limit is never worse than a smaller one."""
    made, cost = champion
    trees = {**SETTINGS, "adapt__experts": ["trees"]}
    with pytest.raises(PlanInfeasible, match="got latency=20 µs where") as refused:  # told as it was set
        brook.run(brook.flip(240, seed=1), brook.config(**trees, envelope__latency="20us"))
    needed = re.search(r"where ([\d.]+) µs are needed", str(refused.value))
    assert needed is not None
    limit_us = round(1.5 * float(needed[1]))
    config = brook.config(**trees, envelope__latency=f"{limit_us}us")
    cost = replace(cost, latency_s=0.48e-6 * limit_us)
    assert Planning(brook.machine, config).leaves_room(cost)
    run = followed(brook, made, config, cost)
    assert run.learner.notes == [SILENT]
    assert run.learner.cost.latency_s <= 1e-6 * limit_us
    assert CHAMPION not in mixture(run).parts
    again = begun(brook, made, config, cost)
    assert restore(again, pack(run))
    assert again.blend.silent == 1


def test_a_stopped_run_goes_on_without_the_champion(brook, champion):
    made, cost = champion
    config = brook.config(**SETTINGS, envelope__parameters=1_300)
    whole = followed(brook, made, config, cost)
    run = begun(brook, made, config, cost)
    while run.row < 180:
        run.step()
    again = begun(brook, made, config, cost)
    assert restore(again, pack(run))
    while not again.done:
        again.step()
    again.finish()
    assert again.blend.silent == 1
    np.testing.assert_array_equal(again.trail.says[ADAPTED], whole.trail.says[ADAPTED])
    assert mixture(again).artifact == mixture(whole).artifact
