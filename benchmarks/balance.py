"""Does capacity that follows attention beat the same capacity split evenly, and by how much?

    python benchmarks/balance.py [--full] [--sets NAME,..] [--seeds N] [--time SECONDS] [--jobs N]
                                 [--pairs ARM/SHARE,..] [--trials PATTERN] [--together FILE ..]

Every arm divides the same number of parameters: uniform (even widths); abi; abi without rescoring; the scores of other
features (random); the worst features best (inverted); an even split over the best features or terms (top-k); widths by
frequency (mixed); the largest uniform model pruned by magnitude and tuned on. Each arm picks one of its trials by
validation loss with the first seed and repeats it with the others; test rows are looked at once per model. The primary
figure, fixed beforehand, is the gain at a quarter of the uniform model's parameters.

Budgets are those of the uniform model at 1, 1/2, .. 1/16; further down, to the smallest that it has, it is found where each
arm falls below the best uniform quality (less its seeds' deviation): the ratio of the two sizes is the budget saved at equal
quality.
Reads ``$ABI_BENCH`` (default ``../shared/bench``). Writes dated JSON and curves (SVG) into ``benchmarks/results/``. With
``--together`` nothing is measured: the sets of these JSON files are summarised and drawn as one, each as the last file has it,
or of these the ``--sets``. A run goes on from the newest JSON: sets that it does not name stay as they are there. With
``--trials`` arms that were measured choose once more between what they chose and their trials of these names.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from abi.waiting import waiting

os.environ.update(waiting(os.environ))

from balance_arms import Arms, Point, Trial, Trials, even_size, least_even_size, torch_threads
from balance_chart import draw
from balance_sets import BENCH, SETS, Spec, load
from balance_summary import markdown, summarise
from results_file import RESULTS, results_path, write_results

from abi.cores import cores
from abi.errors import PlanInfeasible
from abi.families.artifact import Model
from abi.planning.measure import find_precision, measure

CONTROLS = ("top-k", "mixed", "magnitude")
QUARTER_ONLY = ("abi-no-rescoring", "random", "inverted")
LIMITS = {"text": 1_000_000}
"""Parameters of the largest uniform model; a text's even split gains up to there."""
LIMIT = 250_000
LONG_ROWS, SHORT_EPOCHS = 10_000, 14
"""Outside the full form, tables of more rows than this are trained for fewer epochs, in every arm."""
SHORT = ("banking77", "amazon_access", "kc1+noise50", "phoneme")
SHORT_S, FULL_S = 720, 12 * 3600
LOST = 1e-6
"""Share by which a trial that is not run again had more loss than what was made of it, for each letter of its name."""


def measure_set(
    spec: Spec,
    seeds: int,
    full: bool,
    seconds: float,
    threads: int,
    pairs: list[tuple[str, int]] | None = None,
    before: dict[str, Any] | None = None,
    names: str | None = None,
) -> dict[str, Any]:
    """All arms of one set, or these `pairs` beside what was measured `before`: arm -> budget share -> points per seed.

    With a pattern of `names`, only such trials are run, against what was chosen before.
    """
    deadline = time.monotonic() + seconds
    settings: dict[str, Any] = {"envelope.train_time": None, "envelope.memory": None, "training.threads": threads}
    torch_threads(threads)
    rows = load(spec, settings)
    if not full and spec.kind in {"clean", "noisy"} and len(rows.train) > LONG_ROWS:
        settings["training.epochs"] = SHORT_EPOCHS
    arms = Arms(rows, measure("cpu", find_precision("auto", "cpu"), threads), settings)
    largest = even_size(arms, LIMITS.get(spec.kind, LIMIT))
    arms.prepare_dense(largest)
    least = least_even_size(arms, largest)
    last = largest // least
    measured = (
        [] if before is None or names is None else [(arm, int(s)) for arm, by in before["arms"].items() for s in by]
    )
    wanted = pairs or measured or _order(full, last)
    found: dict[str, dict[int, list[Point]]] = {}
    skipped: list[str] = []
    for arm, share in wanted:
        if time.monotonic() > deadline:
            skipped.append(f"{arm} 1/{share}: out of time")
            continue
        budget = least if share == last else _matched(arms, largest // share)
        known = None if before is None else before["arms"].get(arm, {}).get(str(share))
        if names is None:
            points = _points(arms, arm, budget, seeds)
        elif known is None:
            continue
        else:
            points = _points(arms, arm, budget, seeds, names, [Point(**one) for one in known])
        if not points:
            skipped.append(f"{arm} 1/{share}: does not fit, or does not apply")
            continue
        found.setdefault(arm, {})[share] = points
        mean = sum(p.metric for p in points) / len(points)
        print(
            f"{spec.name:20} {arm:16} 1/{share:<4} {points[0].parameters:>8,} parameters  {mean:>12.4f}  {points[0].trial}",
            file=sys.stderr,
            flush=True,
        )
    arms_found: dict[str, Any] = {} if before is None else before["arms"]
    for arm, by_share in found.items():
        arms_found.setdefault(arm, {}).update({str(s): [asdict(p) for p in points] for s, points in by_share.items()})
    named = {f"{arm} 1/{share}:" for arm, by_share in found.items() for share in by_share}
    left = [] if before is None else [s for s in before["skipped"] if not any(s.startswith(n) for n in named)]
    return {
        "set": spec.name,
        "kind": spec.kind,
        "largest": largest,
        "least_uniform": least,
        "seeds": seeds,
        "arms": arms_found,
        "skipped": left + skipped,
    }


def _order(full: bool, last: int) -> list[tuple[str, int]]:
    """(arm, share of the budget): the primary budget, then all of the uniform curve, which a run out of time must have.

    The smallest even split is at share `last`; it is left out where that is among the others.
    """
    pairs = [("uniform", 4), ("abi", 4), *(("uniform", share) for share in (1, 16, 2, 8)), ("abi", 16), ("abi", 64)]
    pairs += [(arm, share) for share in (4, 16) for arm in CONTROLS] + [("uniform", 64), ("abi", 128)]
    pairs += [(arm, 64) for arm in CONTROLS] + [("abi", 32), ("uniform", 32), *((arm, 4) for arm in QUARTER_ONLY)]
    pairs += [("abi", share) for share in (256, 8, 1, 2)]
    pairs += [] if ("uniform", last) in pairs else [("uniform", last)]
    return pairs + [(arm, share) for share in (1, 2, 8, 32) for arm in CONTROLS] if full else pairs


def _matched(arms: Arms, budget: int) -> int:
    """The parameters that the even split really takes of `budget`, so that no arm has more; `budget` where none fits."""
    try:
        return even_size(arms, budget)
    except PlanInfeasible:
        return budget


def _points(
    arms: Arms, arm: str, budget: int, seeds: int, names: str | None = None, before: list[Point] | None = None
) -> list[Point]:
    """Choose a trial by validation loss with the first seed; repeat it with the others.

    Where only trials of these `names` are run, against the one that was chosen `before`: its points stay where none of them has
    less loss, and get the seeds that they lack.
    """
    began = time.monotonic()
    chosen = before[0] if before else None
    losses: dict[str, float] = {}
    kept: tuple[str, Model] | None = None
    least = math.inf if chosen is None else chosen.validation_loss
    trials = arms.trials(arm, budget, 0)
    trial = next(trials, None)
    while trial is not None:
        model, loss = None, math.inf
        if names is None or re.fullmatch(names, trial.name):
            with suppress(PlanInfeasible):
                model, loss = trial.fit(0)
        elif chosen is not None and trial.name in chosen.trial:  # what was chosen, or what that was made of, which lost
            loss = chosen.validation_loss * (1 + LOST * (len(chosen.trial) - len(trial.name)))
        if model is not None and loss < least:
            kept, least = (trial.name, model), loss
        losses[trial.name] = loss
        trial = _answered(trials, loss)
    searched_s = time.monotonic() - began + (0.0 if chosen is None else chosen.searched_s)
    if kept is not None:
        name, model = kept
        points = [arms.point(model, losses[name], name, searched_s)]
    elif before:
        name, points = before[0].trial, list(before)
    else:
        return []
    for seed in range(len(points), seeds):
        trials = arms.trials(arm, budget, seed)
        trial = next(trials)
        while trial.name != name:
            trial = _answered(trials, losses[trial.name])
            assert trial is not None, "the same budget has the same trials"
        model, loss = trial.fit(seed)
        points.append(arms.point(model, loss, name, searched_s))
    return points


def _answered(trials: Trials, loss: float) -> Trial | None:
    """The next trial, once the last one's loss is told; None where there is none."""
    try:
        return trials.send(loss)
    except StopIteration:
        return None


def main() -> None:
    """Measure, summarise, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all sets, all budgets for all arms, ten seeds: overnight")
    parser.add_argument("--sets", help="names, with commas")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--time", type=float, default=None, help="seconds for all sets together")
    parser.add_argument("--pairs", help="only these, as uniform/16,abi/1, beside what was measured last")
    parser.add_argument(
        "--trials", help="pattern of the only trials that are run, as '.*lean', against what had been chosen"
    )
    parser.add_argument("--jobs", type=int, help="sets at a time; the cores are shared among them")
    parser.add_argument("--together", nargs="+", type=Path, help="results to summarise and draw as one")
    asked = parser.parse_args()
    names = asked.sets.split(",") if asked.sets else [s.name for s in SETS] if asked.full else list(SHORT)
    unknown = sorted(set(names) - {s.name for s in SETS})
    if unknown:
        print(f"Expected names among {', '.join(s.name for s in SETS)}, got {', '.join(unknown)}.", file=sys.stderr)
        sys.exit(2)
    if asked.together:
        found = {one["set"]: one for path in asked.together for one in _sets(path)}
        _show(
            [one for name, one in found.items() if not asked.sets or name in names], None if asked.sets else "balance"
        )
        return
    if not BENCH.is_dir():
        print(
            f"Expected the open sets in {BENCH} (ABI_BENCH names the folder), found none: nothing was measured.",
            file=sys.stderr,
        )
        sys.exit(1)
    chosen = [next(s for s in SETS if s.name == name) for name in names]
    seeds = asked.seeds or (10 if asked.full else 2)
    limit = asked.time or (FULL_S if asked.full else SHORT_S)
    began, threads = time.monotonic(), cores()
    jobs = min(asked.jobs or threads, len(chosen))
    label = "balance-full" if asked.full else "balance"
    pairs = [
        (arm, int(share)) for arm, _, share in (one.partition("/") for one in (asked.pairs or "").split(",")) if arm
    ]
    kept = _kept(label)
    results = [result for result in kept if result["set"] not in names]
    before = {result["set"]: result for result in kept} if pairs or asked.trials else {}
    share = limit / math.ceil(len(chosen) / jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                measure_set,
                spec,
                seeds,
                asked.full,
                share,
                max(1, threads // jobs),
                pairs,
                before.get(spec.name),
                asked.trials,
            )
            for spec in chosen
        ]
        for done in as_completed(waiting):
            results.append(done.result())
            write_results(label, {"sets": results, "summary": summarise(results)})
    _show(results, label)
    write_results(label, {"sets": results, "summary": summarise(results)})
    print(f"\n{time.monotonic() - began:.0f} s; {results_path(label)} and {RESULTS / f'{label}.svg'}")


def _show(results: list[dict[str, Any]], label: str | None) -> None:
    """Put the sets in their order, print what they come to, and draw them where there is a label."""
    results.sort(key=lambda result: [s.name for s in SETS].index(result["set"]))
    summary = summarise(results)
    print(summary["text"])
    print(f"\n{markdown(summary)}")
    if label is not None:
        draw(results, RESULTS / f"{label}.svg")


def _kept(label: str) -> list[dict[str, Any]]:
    """Sets of the newest results of that name, which a run goes on from."""
    dated = sorted(RESULTS.glob(f"{label}-2*.json"))
    return _sets(dated[-1]) if dated else []


def _sets(path: Path) -> list[dict[str, Any]]:
    """What was measured of each set."""
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["figures"]["sets"]
    return found


if __name__ == "__main__":
    main()
