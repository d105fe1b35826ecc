"""Nothing is lost or done twice, whatever stops: processes, servers, replies, disks.

    python benchmarks/chaos.py [PART ...] [--short] [--seed N] [--json]

Parts: `boundaries`, `moments` and `flow` kill a run and start it again; `decisions` kills promotions and rollbacks;
`replies` disturbs the talk with an MLflow server; `outages` takes MLflow's and Prefect's server away for a minute; `disk`
and `tmpfs` fill the disk. Without `--short`: every boundary and write, 300 moments, 200 replies; with it a seeded sample.
Prints what went wrong; writes dated JSON into ``benchmarks/results/`` (parts that were not run stay as they were there),
unless `--json` prints it. Exits 1 where anything was lost or done twice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import chaos_disk
import chaos_kill
import chaos_outages
import chaos_replies
from chaos_proxy import FAULTS
from chaos_world import World, say, warm
from results_file import results_path, write_results

SHOWN = 12
SHORT: dict[str, int | None] = {
    "boundaries": 5,
    "moments": 3,
    "decisions": 1,
    "replies": len(FAULTS),
    "disk": 2,
    "tmpfs": 1,
    "outages": 5,
    "flow": 1,
}
LONG: dict[str, int | None] = {
    "boundaries": None,
    "moments": 300,
    "decisions": None,
    "replies": 200,
    "disk": None,
    "tmpfs": 24,
    "outages": 60,
    "flow": 20,
}


def main() -> None:
    """Run the named parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(LONG))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    unknown = set(asked.parts) - set(LONG)
    if unknown:
        parser.error(f"Expected parts among {', '.join(LONG)}, got {', '.join(sorted(unknown))}.")
    seed, sizes, parts = asked.seed, SHORT if asked.short else LONG, asked.parts or list(LONG)
    say(f"seed {seed}")
    warm()
    world = World.make()
    try:
        figures = {"seed": seed, "short": asked.short, **_killed(world, parts, sizes, seed)}
    finally:
        world.remove()
    if asked.json:
        print(json.dumps(figures, indent=1))
    else:
        print(write_results("chaos", {**_before(), **figures}))
    if any(part["problems"] for part in figures.values() if isinstance(part, dict)):
        sys.exit(1)


def _before() -> dict[str, Any]:
    """Today's figures so far."""
    path = results_path("chaos")
    found: dict[str, Any] = json.loads(path.read_bytes())["figures"] if path.exists() else {}
    return found


def _killed(world: World, parts: list[str], sizes: dict[str, int | None], seed: int) -> dict[str, Any]:
    cold, baseline = chaos_kill.prepare(world)
    say(f"an undisturbed run takes {baseline.seconds:.1f} s and crosses {len(baseline.places)} boundaries")
    todo: dict[str, Callable[[int | None], list[chaos_kill.Trial]]] = {
        "boundaries": lambda size: chaos_kill.at_boundaries(world, cold, baseline, size, seed),
        "moments": lambda size: chaos_kill.at_moments(world, cold, baseline, size or 0, seed),
        "disk": lambda size: chaos_disk.full_disk(world, baseline, size, seed),
        "outages": lambda size: chaos_outages.outages(world, size, seed),
        "flow": lambda size: chaos_outages.in_flow(world, size or 0, seed),
        "tmpfs": lambda size: chaos_disk.small_disk(world, baseline, size or 0, seed),
        "decisions": lambda size: chaos_kill.decisions(world, size, seed),
    }
    found = {}
    if "replies" in parts:
        trials, more = chaos_replies.replies(world, sizes["replies"] or 0, seed)
        found["replies"] = {**summary(trials), **more}
        say(f"replies: {found['replies']['trials']} trials, {len(found['replies']['problems'])} went wrong")
    for part, work in todo.items():
        if part in parts:
            found[part] = summary(work(sizes[part]))
            say(f"{part}: {found[part]['trials']} trials, {len(found[part]['problems'])} went wrong")
    return found


def summary(trials: list[chaos_kill.Trial]) -> dict[str, Any]:
    """Counts, and every trial that went wrong."""
    wrong = [trial for trial in trials if trial.problems]
    return {
        "trials": len(trials),
        "killed": sum(trial.killed for trial in trials),
        "problems": [asdict(trial) for trial in wrong],
        "seconds": round(sum(trial.seconds for trial in trials), 1),
        "seen": [trial.where for trial in trials] if len(trials) <= SHOWN else [],
    }


if __name__ == "__main__":
    main()
