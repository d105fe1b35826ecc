"""The balance benchmark's tables: from points to the figures that are claimed."""

from __future__ import annotations

from typing import Any

import numpy as np
from balance_sets import SETS
from balance_statistics import (
    geometric_mean,
    holm,
    interval_over_tables,
    relative_gain,
    signed_ranks,
    table_mean,
    threshold,
    times_fewer,
)

GOALS = {"text": 20.0, "ids": 8.0, "noisy": 10.0, "clean": 1.5}
STRONG = ("top-k", "mixed", "magnitude")
QUARTER = "4"
TABLE = {spec.name: spec.data for spec in SETS}


def curve(result: dict[str, Any], arm: str) -> dict[int, list[float]]:
    """Parameters -> quality per seed."""
    points = result["arms"].get(arm, {})
    return {
        round(float(np.mean([p["parameters"] for p in by_seed]))): [p["metric"] for p in by_seed]
        for by_seed in points.values()
    }


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures per set and per group, and a table of them as text."""
    rows = [_of_set(result) for result in results]
    groups = {}
    for kind, goal in GOALS.items():
        saved = [r["times_fewer"] for r in rows if r["kind"] == kind and r["times_fewer"] is not None]
        missed = [r["set"] for r in rows if r["kind"] == kind and r["times_fewer"] is None]
        if saved or missed:
            groups[kind] = {
                "geometric_mean": geometric_mean(saved),
                "goal": goal,
                "sets": len(saved),
                "not_reached": missed,
            }
    controls = [
        r["times_fewer_than_controls"]
        for r in rows
        if r["kind"] != "clean" and r["times_fewer_than_controls"] is not None
    ]
    over_uniform = {r["set"]: r["quarter_over_uniform"] for r in rows}
    over_controls = {r["set"]: r["quarter_over_controls"] for r in rows if r["kind"] != "clean"}
    p_values: dict[str, dict[str, float]] = {"sets": {}, "tables": {}}
    for share in ("1", "2", "4", "8", "16"):
        found = {result["set"]: _interval(_gain(result, "uniform", share)) for result in results}
        for unit, gains in (("sets", _by_set(found)), ("tables", _by_table(found))):
            if gains:
                p_values[unit][f"1/{share}"] = signed_ranks([table_mean(table) for table in gains])
    summary: dict[str, Any] = {
        "sets": rows,
        "groups": groups,
        "controls": {
            "geometric_mean": geometric_mean(controls),
            "goal": 2.0,
            "sets": len(controls),
            "not_reached": [r["set"] for r in rows if r["kind"] != "clean" and r["times_fewer_than_controls"] is None],
        },
        "quarter_over_uniform": _intervals(over_uniform),
        "quarter_over_controls": _intervals(over_controls),
        "wilcoxon_holm": {unit: holm(values) for unit, values in p_values.items()},
    }
    return {**summary, "text": _text(summary)}


def _by_table(found: dict[str, dict[str, Any] | None]) -> list[list[list[float]]]:
    """Gains per seed of each set, those of one table together."""
    tables: dict[str, list[list[float]]] = {}
    for name, gain in found.items():
        if gain is not None:
            tables.setdefault(TABLE[name], []).append(gain["gains"])
    return list(tables.values())


def _by_set(found: dict[str, dict[str, Any] | None]) -> list[list[list[float]]]:
    """The same with each set by itself."""
    return [[gain["gains"]] for gain in found.values() if gain is not None]


def _intervals(found: dict[str, dict[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """Mean, interval and number of sets, and of the tables that these were made of."""
    units = {"sets": _by_set(found), "tables": _by_table(found)}
    return {
        unit: dict(zip(("mean", "low", "high"), interval_over_tables(gains), strict=True), count=len(gains))
        for unit, gains in units.items()
        if gains
    }


def _of_set(result: dict[str, Any]) -> dict[str, Any]:
    uniform, ours = curve(result, "uniform"), curve(result, "abi")
    quality = threshold(uniform) if uniform else float("nan")
    fewer, note = times_fewer(ours, uniform, quality, result.get("least_uniform")) if uniform and ours else (None, "")
    against = {arm: times_fewer(ours, c, quality) for arm in STRONG if (c := curve(result, arm)) and ours}
    ratios = [ratio for ratio, _ in against.values() if ratio is not None]
    best = max(
        (arm for arm in STRONG if QUARTER in result["arms"].get(arm, {})),
        key=lambda arm: np.mean([p["metric"] for p in result["arms"][arm][QUARTER]]),
        default=None,
    )
    return {
        "set": result["set"],
        "kind": result["kind"],
        "seeds": min((len(by) for points in result["arms"].values() for by in points.values()), default=0),
        "best_uniform": max((float(np.mean(v)) for v in uniform.values()), default=None),
        "quality": quality,
        "uniform_size": min((s for s, v in uniform.items() if np.mean(v) >= quality), default=None),
        "abi_size": min((s for s, v in ours.items() if np.mean(v) >= quality), default=None),
        "times_fewer": fewer,
        "times_fewer_note": note,
        "times_fewer_than": {arm: {"ratio": r, "note": said} for arm, (r, said) in against.items()},
        "times_fewer_than_controls": min(ratios, default=None),
        "quarter_over_uniform": _interval(_gain(result, "uniform", QUARTER)),
        "quarter_parameters": _over_uniform(result, "parameters"),
        "quarter_macs": _over_uniform(result, "macs"),
        "best_control": best,
        "quarter_over_controls": _interval(_gain(result, best, QUARTER)) if best else None,
    }


def _gain(result: dict[str, Any], arm: str, share: str) -> list[float] | None:
    mine, theirs = result["arms"].get("abi", {}).get(share), result["arms"].get(arm, {}).get(share)
    if not mine or not theirs:
        return None
    return [(m["metric"] - t["metric"]) / abs(t["metric"]) for m, t in zip(mine, theirs, strict=False)]


def _over_uniform(result: dict[str, Any], what: str) -> float | None:
    """What attention takes at a quarter over what the even split's choice takes."""
    mine, theirs = (result["arms"].get(arm, {}).get(QUARTER) for arm in ("abi", "uniform"))
    return float(np.mean([p[what] for p in mine]) / np.mean([p[what] for p in theirs])) if mine and theirs else None


def _interval(gains: list[float] | None) -> dict[str, Any] | None:
    if gains is None:
        return None
    mean, low, high = relative_gain([1 + g for g in gains], [1.0] * len(gains))
    return {"mean": mean, "low": low, "high": high, "gains": gains}


def _text(summary: dict[str, Any]) -> str:
    lines = [
        f"{'set':22} {'best uniform':>12} {'at':>9} {'abi at':>8} {'fewer':>7} {'vs controls':>12} {'1/4 vs uniform':>24} {'1/4 vs best control':>34}"
    ]
    for r in summary["sets"]:
        gain, control = r["quarter_over_uniform"], r["quarter_over_controls"]
        lines.append(
            f"{r['set']:22} {_number(r['best_uniform'], '12.4f')} {_number(r['uniform_size'], '9,d')} {_number(r['abi_size'], '8,d')} "
            f"{_number(r['times_fewer'], '6.1f')}x {_number(r['times_fewer_than_controls'], '11.1f')}x "
            f"{_percent(gain):>24} {(_percent(control) + ' ' + r['best_control'] if control else '-'):>34}"
        )
    lines.append("")
    for kind, group in summary["groups"].items():
        missed = f", not reached on {', '.join(group['not_reached'])}" if group["not_reached"] else ""
        lines.append(
            f"{kind:6} {group['geometric_mean']:6.1f}x fewer parameters at equal quality over {group['sets']} sets (goal {group['goal']:g}x{missed})"
        )
    controls = summary["controls"]
    missed = f", not reached on {', '.join(controls['not_reached'])}" if controls["not_reached"] else ""
    lines.append(
        f"the best strong control needs {controls['geometric_mean']:.1f}x over {controls['sets']} sets (goal {controls['goal']:g}x{missed})"
    )
    for name, words in (("quarter_over_uniform", "uniform"), ("quarter_over_controls", "the best control")):
        for unit, found in summary[name].items():
            lines.append(
                f"gain at a quarter over {words}, {found['count']} {unit}: {found['mean']:+.2%} [{found['low']:+.2%}, {found['high']:+.2%}]"
            )
    for unit, values in summary["wilcoxon_holm"].items():
        lines.append(
            f"Wilcoxon over {unit}, Holm over budgets: " + ", ".join(f"{k}: {v:.3f}" for k, v in values.items())
        )
    for what in ("parameters", "macs"):
        ratios = {r["set"]: ratio for r in summary["sets"] if (ratio := r[f"quarter_{what}"]) is not None}
        lines.append(
            f"{what} at a quarter over the even split's: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items())
        )
    return "\n".join(lines)


def markdown(summary: dict[str, Any]) -> str:
    """The table of the README."""
    lines = [
        "| set | kind | seeds | best even split | reached, less its deviation, at | attention reaches it at | fewer | over the best control | 1/4 over even | 1/4 over the best control |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in summary["sets"]:
        fewer = "not reached" if r["times_fewer"] is None else f"{r['times_fewer']:.1f}x"
        over = "–" if r["times_fewer_than_controls"] is None else f"{r['times_fewer_than_controls']:.1f}x"
        control = r["quarter_over_controls"]
        best = f"{_percent(control)} {r['best_control']}" if control else "–"
        lines.append(
            f"| {r['set']} | {r['kind']} | {r['seeds']} | {_number(r['best_uniform'], '.4f')} | {_number(r['uniform_size'], ',d')} | "
            f"{_number(r['abi_size'], ',d')} | {fewer} | {over} | {_percent(r['quarter_over_uniform'])} | "
            f"{best} |"
        )
    return "\n".join(lines)


def _number(value: float | int | None, form: str) -> str:
    width = int("".join(c for c in form.partition(".")[0] if c.isdigit()) or 1)
    return format(value, form) if value is not None else "-".rjust(width)


def _percent(gain: dict[str, Any] | None) -> str:
    return f"{gain['mean']:+.2%} [{gain['low']:+.2%}, {gain['high']:+.2%}]" if gain else "-"
