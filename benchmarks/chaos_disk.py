"""A full disk, at each write from the n-th on: one sentence, nothing registered, and the run goes on when there is room."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import sqlite3
import subprocess
from typing import NoReturn

from chaos_inspect import inspect, survey
from chaos_kill import READY, Baseline, Trial
from chaos_trace import Place, Trace
from chaos_world import Ended, World

TMPFS_STEPS = 12


def full_disk(world: World, baseline: Baseline, sample: int | None, seed: int) -> list[Trial]:
    """Let no write succeed from one of a run's on; at each of them, or at so many."""
    places = [place for place in baseline.places if place.name.startswith("before ")]
    if sample is not None:
        places = random.Random(seed).sample(places, sample)
    return [_fill_at(world, place, baseline) for place in places]


def _fill_at(world: World, place: Place, baseline: Baseline) -> Trial:
    world.reset(READY if place.stage == "start" else f"before-{place.stage}")
    before = survey(world)
    ended = world.abi(world.run_words(1), lambda: Trace(world.trace, place, no_space, lasting=True).install())
    return _with_room(world, f"full from {place}", ended, before["entered"], baseline)


def no_space(name: str) -> NoReturn:
    """What the system says to this write."""
    if "commit" in name:
        msg = "database or disk is full"
        raise sqlite3.OperationalError(msg)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _with_room(world: World, where: str, ended: Ended, entered: list[int], baseline: Baseline) -> Trial:
    problems = _said_in_one_sentence(ended) if ended.code else []
    try:
        left = survey(world)
    except RuntimeError as error:
        problems.append(str(error))
    else:
        if ended.code and left["entered"] != entered and "run.json" not in where:
            problems += _late(where, left["entered"], entered)
    again = world.abi(world.run_words(1))
    problems += [] if again.code == 0 else [f"with room again: exit code {again.code}: {again.said[-600:]}"]
    problems += inspect(world, {"versions": 2, "entered": [1, 2], "artifact": baseline.artifact})
    return Trial(where, ended.code != 0, problems, ended.seconds + again.seconds)


def _late(where: str, found: list[int], before: list[int]) -> list[str]:
    """Once a version is entered, a full disk is about the report alone."""
    return [] if where.startswith("full from record") else [f"entered versions {found}, after {before} before the run"]


def _said_in_one_sentence(ended: Ended) -> list[str]:
    lines = [line for line in ended.said.splitlines() if line.startswith("abi: ")]
    if ended.code == 1 and len(lines) == 1 and "Traceback" not in ended.said and "Unexpected" not in lines[0]:
        if re.search("space|room|full", lines[0]):
            return []
        return [f"the sentence does not say that the disk is full: {lines[0][:400]}"]
    return [f"expected exit code 1 and one sentence, got {ended.code}: {ended.said[:400]} … {ended.said[-400:]}"]


def small_disk(world: World, baseline: Baseline, steps: int, seed: int) -> list[Trial]:
    """A real small file system, of sizes from too small for anything to large enough; where one can be mounted."""
    used = sum(p.stat().st_blocks * 512 for p in (world.root / READY).rglob("*") if p.is_file())
    needed = sum(p.stat().st_blocks * 512 for p in (world.root / "two").rglob("*") if p.is_file()) - used
    trials, draw = [], random.Random(seed)
    for step in range(steps):
        size = used + int(needed * (step + draw.random()) / steps)
        world.reset(None)
        world.workspace.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size // 1024 + 64}k", "tmpfs", str(world.workspace)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            return []
        try:
            shutil.copytree(world.root / READY, world.workspace, symlinks=True, dirs_exist_ok=True)
            before = survey(world)
            ended = world.abi(world.run_words(1))
            subprocess.run(["mount", "-o", "remount,size=500m", str(world.workspace)], check=True)
            trials.append(_with_room(world, f"a disk of {size:,} bytes", ended, before["entered"], baseline))
        finally:
            subprocess.run(["umount", str(world.workspace)], check=True)
    return trials
