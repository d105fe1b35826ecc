"""How fast and how exactly envelopes are divided: plans of many features, and divisions small enough to try everything."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from abi.attention.fit import fit
from abi.config import load_config
from abi.errors import PlanInfeasible
from abi.inputs.kind import Step
from abi.planning.allocate import SOLVER, solve
from abi.planning.family import plan_family
from abi.planning.knapsack import Knapsack, knapsack
from abi.planning.machine import Machine
from abi.planning.quiet import silent_stdout
from abi.planning.relaxation import relax
from abi.problem import DataFile, Feature, Problem, Schema, Snapshot, Split
from abi.types import Attention, Envelope, FeatureScore, Scores

SIZES = (500, 2000)
EXACT = 100
"""Up to so many features the optimum is found as well."""
WIDTHS = (1, 2, 4, 8, 12, 16, 24, 32)
ENVELOPES = {
    "no limit": lambda _: Envelope(),
    "memory": lambda n: Envelope(memory_bytes=n * 80_000),
    "parameters": lambda n: Envelope(parameters=n * 400),
    "tight": lambda n: Envelope(parameters=n * 80),
    "memory and latency": lambda n: Envelope(memory_bytes=n * 200_000, latency_s=2e-2),
}
SPLITS = {"widths": {}, "frugal": {"frugal": True}, "pruned": {"frugal": True, "pruned": True}}
MACHINE = Machine(
    device="cpu", name="made up", threads=2, precision="float32", call_s=1e-3, activation_s=1e-9, mac_s=1e-11,
    predict_call_s=2e-4, memory_bytes=2**36, solver=SOLVER,
)  # fmt: skip


def attention(count: int, seed: int = 0, *, frugal: bool = False, pruned: bool = False) -> Attention:
    """Of `count` features: three fifths numbers, the others categories; three tenths of them carry no signal."""
    random = np.random.default_rng(seed)
    numbers = random.random(count) < 0.6
    features = tuple(
        Feature(
            name=f"x{i}", column=f"x{i}", kind="numeric" if number else "categorical",
            distinct=int(random.integers(2, 5000 if number else 500)), missing_share=0.0,
        )
        for i, number in enumerate(numbers)
    )  # fmt: skip
    file = DataFile(role="train", format="csv", md5="0" * 32, sha256="0" * 64, size_bytes=1, rows=1)
    schema = Schema(target="y", task="binary", classes=("no", "yes"), features=features, set_aside=())
    problem = Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=Split(seed=0, validation=0.15, test=0.2))
    values, heard = random.random(count).tolist(), (random.random(count) < 0.7).tolist()
    scores = Scores(
        problem=problem, source="data", rows=100,
        features=tuple(
            FeatureScore(
                feature=f.name, relevance=v, discrimination=v, redundancy=0.0, complexity=0.0, score=v,
                low=v, high=v, null=0.0, p_value=0.01, carries_signal=h,
            )
            for f, v, h in zip(features, values, heard, strict=True)
        ),
    )  # fmt: skip
    return fit(scores, 0.2, load_config(settings={}).attention, frugal=frugal, pruned=pruned)


def plans() -> list[dict[str, Any]]:
    """Seconds of a whole plan, by features, split and envelope."""
    config = load_config(settings={"training.device": "cpu", "training.family": "network"})
    found = []
    for count, (split, flags), (limit, envelope) in itertools.product(SIZES, SPLITS.items(), ENVELOPES.items()):
        given = attention(count, **flags)
        start, fits = time.perf_counter(), True
        try:
            plan_family(given, envelope(count), config, MACHINE, train_rows=10_000, validation_rows=1_500)
        except PlanInfeasible:
            fits = False
        seconds = round(time.perf_counter() - start, 3)
        found.append({"features": count, "split": split, "limit": limit, "fits": fits, "seconds": seconds})
        print(
            f"{count:5} features  {split:8} {limit:20} {seconds:7.3f} s{'' if fits else '  (nothing fits)'}", flush=True
        )
    return found


def division(count: int, share: float, seed: int, widths: tuple[int, ...] = WIDTHS, room: float = 0.6) -> Knapsack:
    """Widths of `count` features that may cost `share` of what all of them at their widest would, and `room` of the width."""
    random = np.random.default_rng(seed)
    costs = random.integers(3, 200, count).tolist()
    ladders = [[Step(width=w, encoder_parameters=int(cost * w * (1 + w / 16))) for w in widths] for cost in costs]
    weights = random.dirichlet(np.full(count, 0.5)).tolist()
    most = sum(rungs[-1].parameters(100) for rungs in ladders)
    least = sum(rungs[0].parameters(100) for rungs in ladders)
    budget, limit = int(least + share * (most - least)), int(count + room * count * (max(widths) - 1))
    return knapsack(ladders, weights, budget, 100, limit, None)


def exact_worth(sack: Knapsack) -> float:
    """The optimum by integer programming that stops at no gap; the bound is then the worth."""
    with silent_stdout():
        solved = milp(
            -sack.gain,
            integrality=np.ones(len(sack.gain)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(sack.one_each(), 1, 1),
                LinearConstraint(np.vstack([sack.price, sack.width]), ub=1),
            ],
            options={"mip_rel_gap": 0.0},
        )
    assert solved.status == 0, solved.message
    return -float(solved.fun)


def best_worth(sack: Knapsack) -> float:
    """By trying everything."""
    every = itertools.product(*(range(len(rungs)) for rungs in sack.ladders))
    return max(sack.worth(places) for places in every if sack.holds(places))


def divisions() -> list[dict[str, Any]]:
    """Seconds of one division, and how far its worth lies below the relaxation's bound, and below the optimum."""
    found = []
    for count in (4, 6, 20, 64, 65, 100, *SIZES):
        seconds, gaps, below = [], [], []
        for seed, share in itertools.product(range(3), (0.02, 0.1, 0.3)):
            sack = division(count, share, seed, WIDTHS[:6] if count <= 6 else WIDTHS)
            start = time.perf_counter()
            places = solve(sack)
            seconds.append(time.perf_counter() - start)
            relaxed = relax(sack)
            assert places is not None
            assert relaxed is not None
            gaps.append(1 - sack.worth(places) / relaxed.bound)
            if count <= EXACT:
                optimum = best_worth(sack) if count <= 6 else exact_worth(sack)
                below.append(1 - sack.worth(places) / optimum)
        row = {
            "features": count, "seconds": round(float(np.median(seconds)), 4), "slowest_s": round(max(seconds), 4),
            "gap_to_bound": round(max(gaps), 6), "gap_to_optimum": round(max(below), 6) if below else None,
        }  # fmt: skip
        found.append(row)
        exact = "" if not below else f", at most {max(below):.3%} below the optimum"
        print(f"{count:5} features  {row['seconds']:.4f} s  at most {max(gaps):.3%} below the bound{exact}", flush=True)
    return found


def solved() -> dict[str, Any]:
    """Both parts."""
    return {"divisions": divisions(), "plans": plans()}
