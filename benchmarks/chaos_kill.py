"""SIGKILL, at every boundary and at random moments; then the same command again, and nothing is lost or done twice."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from chaos_inspect import inspect, survey
from chaos_trace import Place, Trace, crossed, die_after, started
from chaos_world import Ended, World, say

READY, TWO, PROMOTED = "ready", "two", "promoted"
"""Templates: databases, keys and snapshot are there; two versions, the first one champion; the second one champion."""
REASON = ["--reason", "chaos"]


@dataclass(frozen=True)
class Trial:
    """One kill and what came of it."""

    where: str
    killed: bool
    problems: list[str]
    seconds: float


@dataclass(frozen=True)
class Baseline:
    """An undisturbed run: its boundaries, weights and seconds."""

    places: list[Place]
    artifact: str
    seconds: float


def prepare(world: World) -> tuple[Baseline, Baseline]:
    """Templates, and two undisturbed runs: in a place with nothing, and where databases and snapshot are there."""
    world.reset(None)
    cold = _undisturbed(world, 0)
    _expect(world.abi(["promote", *world.flags]))
    shutil.rmtree(world.workspace / "stages")
    world.keep(READY)
    world.reset(READY)
    baseline = _undisturbed(world, 1, by_stage=True)
    world.keep(TWO)
    _expect(world.abi(["promote", *world.flags]))
    world.keep(PROMOTED)
    return cold, baseline


def _undisturbed(world: World, seed: int, *, by_stage: bool = False) -> Baseline:
    """Run, and leave a template of the workspace for each stage, as it was before it."""

    def watch() -> None:
        Trace(world.trace).install()
        if by_stage:
            _templates(world)

    ended = _expect(world.abi(world.run_words(seed), watch))
    return Baseline(crossed(world.trace), survey(world)["artifact"], ended.seconds)


def _templates(world: World) -> None:
    import tasks.orchestration as module

    work = module._work

    def kept(call: Any, stage: Any, inputs: tuple[str, ...]) -> str:
        world.keep(f"before-{stage.name}")
        return work(call, stage, inputs)

    module._work = kept


def _expect(ended: Ended) -> Ended:
    assert ended.code == 0, ended.said[-2000:]
    return ended


def at_boundaries(world: World, cold: Baseline, baseline: Baseline, sample: int | None, seed: int) -> list[Trial]:
    """Kill a run at each boundary, or at so many of them; those of a first use in a place with nothing."""
    usual = {(place.stage, place.name) for place in baseline.places}
    first = [place for place in cold.places if (place.stage, place.name) not in usual]
    places = [(place, True) for place in first] + [(place, False) for place in baseline.places]
    if sample is not None:
        places = random.Random(seed).sample(places, sample)
    return [_kill_at(world, place, cold if new else baseline, new=new) for place, new in places]


def _kill_at(world: World, place: Place, baseline: Baseline, *, new: bool) -> Trial:
    world.reset(None if new else READY if place.stage == "start" else f"before-{place.stage}")
    seed = 0 if new else 1
    ended = world.abi(world.run_words(seed), lambda: Trace(world.trace, place).install())
    return _restarted(world, f"{'first use, ' if new else ''}{place}", ended, seed, baseline, versions=1 if new else 2)


def at_moments(world: World, cold: Baseline, baseline: Baseline, count: int, seed: int) -> list[Trial]:
    """Kill a run at so many random moments; each tenth is a first use in a place with nothing, where DVC is at work too."""
    draw = random.Random(seed)
    trials = []
    for number in range(count):
        new = number % 10 == 0
        usual, run = (cold, 0) if new else (baseline, 1)
        moment_s = draw.uniform(usual.places[0].at_s, usual.places[-1].at_s)
        past = [place for place in usual.places if place.at_s <= moment_s][-1]
        die = die_after(moment_s - past.at_s)  # counted from the last boundary, as the machine's load comes and goes
        world.reset(None if new else READY)
        ended = world.abi(world.run_words(run), partial(_watch, world, past, die))
        where = f"{'first use, ' if new else ''}{moment_s:.3f} s, past {past}"
        trials.append(_restarted(world, where, ended, run, usual, versions=run + 1))
    return trials


def _watch(world: World, place: Place, act: Callable[[str], None]) -> None:
    Trace(world.trace, place, act).install()


def kept_stages(world: World) -> set[str]:
    """Keys of the stages that are finished."""
    stages = world.workspace / "stages"
    return {path.name for path in stages.iterdir() if not path.name.startswith(".")} if stages.is_dir() else set()


def _restarted(world: World, where: str, ended: Ended, seed: int, baseline: Baseline, versions: int) -> Trial:
    """Run again, and see what there is."""
    kept = kept_stages(world)
    world.trace.unlink(missing_ok=True)
    again = world.abi(world.run_words(seed), lambda: Trace(world.trace).install())
    problems = [] if again.code == 0 else [f"expected exit code 0, got {again.code}: {again.said[-600:]}"]
    repeated = sorted(kept & set(started(world.trace)))
    problems += [f"finished stage {key.partition('-')[0]} was run again" for key in repeated]
    if again.code == 0:
        wanted = {"versions": versions, "entered": list(range(1, versions + 1)), "artifact": baseline.artifact}
        problems += inspect(world, wanted)
    say(f"{'WRONG' if problems else 'well '} {where}")
    return Trial(where, ended.killed, problems, ended.seconds + again.seconds)


def decisions(world: World, sample: int | None, seed: int) -> list[Trial]:
    """Kill `abi promote` and `abi rollback` at each boundary, or at so many."""
    trials = []
    for template, words, wanted in (
        (TWO, ["promote", "--version", "2"], {"promotions": 2, "champion": 2}),
        (PROMOTED, ["rollback", *REASON], {"rollbacks": 1, "champion": 1}),
    ):
        world.reset(template)
        _expect(world.abi([*words, *world.flags], lambda: Trace(world.trace).install()))
        places = crossed(world.trace)
        if sample is not None:
            places = random.Random(seed).sample(places, sample)
        trials += [_decide(world, template, words, wanted, place) for place in places]
    return trials


def _decide(world: World, template: str, words: list[str], wanted: dict[str, Any], place: Place) -> Trial:
    world.reset(template)
    before = partial(Trace(world.trace, place).install)
    ended = world.abi([*words, *world.flags], before)
    next_one = world.abi(world.run_words(1))  # the next command, whichever it is, lets the aliases follow
    problems = [] if next_one.code == 0 else [f"the next command: exit code {next_one.code}: {next_one.said[-600:]}"]
    problems += inspect(world, {})
    decided = survey(world)["champion"] == wanted["champion"]
    if not decided:  # as if it had never been asked for
        again = world.abi([*words, *world.flags])
        problems += [] if again.code == 0 else [f"it cannot be done again: exit code {again.code}: {again.said[-600:]}"]
    problems += inspect(world, wanted)
    return Trial(f"{words[0]} {place}", ended.killed, problems, ended.seconds + next_one.seconds)
