"""What the planner predicts, against what happens on the device that is here.

    python benchmarks/planner.py all                     # every part that this device allows; `make bench-planner`
    python benchmarks/planner.py memory --only bert      # configurations whose name has it
    python benchmarks/planner.py solve                   # dividing an envelope: seconds, and how far from the optimum
    python benchmarks/planner.py predict H200.json --device H200      # on any machine,
    python benchmarks/planner.py measure there.json --predictions H200.json   # on the one that has it; goes on with a file,
    python benchmarks/planner.py compare there.json                   # and both beside each other, on any machine again
    python benchmarks/planner.py judge there.json                     # of these the choice alone

`memory`: peak bytes of a training step and of an evaluation, at numbers of rows that were not traced, against the
allocator's own count: networks of the project and modules that are not, with SGD, AdamW or Adafactor. On a GPU also the
seconds of a step after `abi calibrate`, the large modules, and whether a step runs when the allocator may reserve no more
than the bound. On a processor recurrent layers run without oneDNN, as they are traced: oneDNN's own keep a workspace
that no trace can see. `choice` (GPU): the plan's throughput beside the best of all configurations, each run.
`throughput`: the project's own training beside a loop by hand. `solve`: dividing an envelope, its time and how far from
the optimum it ends. What was not measured is said. Figures go to ``results/planner-<part>-<kind>-<date>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from abi.waiting import waiting

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
os.environ.update(waiting(os.environ))  # as the commands and estimators do

import numpy as np
import torch
from planner_choice import judged, run_all
from planner_measure import fits, on_cpu, on_gpu
from planner_predict import Predicted, all_predicted, configurations
from planner_solve import solved
from planner_throughput import throughput
from results_file import write_results

from abi.devices.calibrate import calibrate
from abi.devices.calibration import Calibration
from abi.devices.catalogue import find
from abi.devices.detect import found as devices_here
from abi.devices.device import Cluster, Device
from abi.devices.request import parse
from abi.execution.step import PHASES

PARTS: Final = ("memory", "choice", "throughput", "solve")
APART: Final = ("predict", "measure", "compare", "judge")
ON_GPU_ALONE: Final = (
    "configurations run one by one on a GPU",
    "seconds of a step, and whether it runs at its bound",
    "BERT-base, GPT-2, T5-small, ViT-base, ResNet-50, Whisper-base and others at their usual sizes",
)


def here() -> tuple[Cluster, Calibration | None]:
    """The first device of this machine that torch can use; a GPU is calibrated first."""
    clusters = devices_here()
    if not torch.cuda.is_available():
        device = clusters[-1].device  # memory alone is compared, and is the same however slow bfloat16 is
        return replace(
            clusters[-1], device=replace(device, rates={"bfloat16": device.rates["float32"], **device.rates})
        ), None
    measured = calibrate("cuda:0", clusters[0].device)
    print(f"calibrated in {measured.seconds} s: {measured.device}", flush=True)
    return replace(clusters[0], count=1, device=measured.device), measured


def wanted(only: str, *, gpu: bool) -> list[tuple[str, int]]:
    """Names and rows."""
    return [(name, rows) for name, (_, _, rows) in configurations(gpu=gpu).items() if only in name]


def predict(cluster: Cluster, only: str, among: Container[str] | None = None) -> dict[str, Predicted]:
    """Every configuration, or those among some, from traces."""
    asked = [one for one in wanted(only, gpu=cluster.device.kind == "gpu") if among is None or one[0] in among]
    return dict(zip([name for name, _ in asked], all_predicted(asked, cluster), strict=True))


def measure(
    cluster: Cluster, only: str, bounds: dict[str, int], limit_s: float | None, known: Container[str] = ()
) -> dict[str, dict[str, Any]]:
    """What really happens, one by one, but for what is known; at its bound where there is one. What fails is told and left out."""
    gpu = cluster.device.kind == "gpu"
    began, found = time.monotonic(), dict[str, dict[str, Any]]()
    asked = [(name, rows) for name, rows in wanted(only, gpu=gpu) if name not in known]
    for name, rows in asked:
        if limit_s is not None and time.monotonic() - began > limit_s:
            print(f"not measured, as {limit_s:g} s are over: {len(asked) - len(found)} configurations from {name} on")
            break
        training = configurations(gpu=gpu)[name][1]
        recurrent = name.startswith(("lstm", "gru"))
        try:
            actual = on_gpu(training, rows) if gpu else on_cpu(training, rows, recurrent=recurrent)
            there = {"rows": rows, "phases": actual.phases, "reserved": actual.reserved, "step_s": actual.step_s}
            if gpu and name in bounds:
                there |= {"limit": bounds[name], "fits": fits(training, rows, bounds[name])}
        except (RuntimeError, ValueError) as error:
            print(f"{name}: failed with {type(error).__name__}: {str(error)[:200]}", flush=True)
            continue
        found[name] = there
        if gpu:
            print(f"{name:50} {rows:6} {max(actual.phases.values()) / 2**20:9.1f} MiB {1e3 * (actual.step_s or 0):8.2f} ms {there.get('fits', '')}", flush=True)  # fmt: skip
    return found


def compare(predictions: dict[str, Predicted], actual: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Every configuration, then the summary of each group."""
    found: list[dict[str, Any]] = []
    for name, there in actual.items():
        predicted = predictions[name]
        step = max(there["phases"][phase] for phase in PHASES[:3])
        group = configurations(gpu=bool(there["reserved"]))[name][0]
        result = compared(name, group, there["rows"], predicted, there["phases"], step)
        if there["step_s"] is not None:
            result |= {
                "reserved": there["reserved"], "reserved_predicted": predicted.reserved, "step_s": there["step_s"],
                "step_predicted_s": predicted.step_s, "bound_by": predicted.bound_by,
                "step_error": round(predicted.step_s / there["step_s"] - 1, 4),
            }  # fmt: skip
        if "fits" in there:
            result |= {
                "limit": there["limit"],
                "accepted": there["limit"] >= predicted.accepted_bytes,
                "within": there["fits"] and there["limit"] <= predicted.accepted_bytes,
                "fits": there["fits"],
            }
        found.append(result)
        show(result)
    groups = sorted({result["group"] for result in found})
    summary = {group: summarise([r for r in found if r["group"] == group]) for group in groups}
    summary["all"] = summarise(found)
    for group, figures in summary.items():
        print(f"{group}: {figures}")
    return {"summary": summary, "configurations": found}


def compared(
    name: str, group: str, rows: int, predicted: Predicted, phases: dict[str, int], step: int
) -> dict[str, Any]:
    """Predicted and allocated bytes of one configuration."""
    return {
        "name": name,
        "group": group,
        "rows": rows,
        "method": predicted.method,
        "trace_s": predicted.trace_s,
        "parameters": predicted.parameters,
        "predicted_bytes": round(predicted.step_bytes),
        "actual_bytes": step,
        "error": round(predicted.step_bytes / step - 1, 5),
        "line": round(predicted.line_bytes / step - 1, 5),
        "bound": round(predicted.bound_bytes / step - 1, 5),
        "phases": {phase: round(predicted.phases[phase] / actual - 1, 5) for phase, actual in phases.items()},
        "uncounted": list(predicted.uncounted),
    }


def show(result: dict[str, Any]) -> None:
    """One line."""
    timed = ""
    if "step_s" in result:
        timed = f" step {1e3 * result['step_s']:8.2f} ms {100 * result['step_error']:+6.1f}% {result['bound_by'][:8]:8}"
        if "fits" in result:
            timed += (
                f" {'accepted' if result['accepted'] else 'refused'}, {'ran' if result['fits'] else 'out of memory'}"
            )
    print(
        f"{result['name']:50} {result['rows']:5} {result['method']:8} {result['trace_s']:6.2f} s "
        f"{result['actual_bytes'] / 2**20:9.2f} MiB {100 * result['error']:+7.3f}% line {100 * result['line']:+7.3f}% "
        f"bound {100 * result['bound']:+6.2f}%{timed}",
        flush=True,
    )


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Error of the step's peak, and how many lie above their bound; the same of single phases; of time where it was taken."""
    errors = np.abs([r["error"] for r in results])
    phases = np.abs([error for r in results for error in r["phases"].values()])
    figures: dict[str, Any] = {
        "configurations": len(results),
        "median_error": round(float(np.median(errors)), 5),
        "p95_error": round(float(np.quantile(errors, 0.95)), 5),
        "largest_error": round(float(errors.max()), 5),
        "median_line_error": round(float(np.median(np.abs([r["line"] for r in results]))), 5),
        "above_bound": sum(r["bound"] < 0 for r in results),
        "median_bound": round(float(np.median([r["bound"] for r in results])), 5),
        "median_phase_error": round(float(np.median(phases)), 5),
        "p95_phase_error": round(float(np.quantile(phases, 0.95)), 5),
        "median_trace_s": round(float(np.median([r["trace_s"] for r in results if r["method"] == "traced"] or [0])), 2),
    }
    timed = [r for r in results if "step_error" in r]
    if timed:
        errors = np.abs([r["step_error"] for r in timed])
        held = [r for r in results if "fits" in r]
        figures |= {
            "median_step_error": round(float(np.median(errors)), 4),
            "p90_step_error": round(float(np.quantile(errors, 0.9)), 4),
            "median_step_error_of_bound_by": {
                binder: (len(those), round(float(np.median(those)), 4))
                for binder in sorted({r["bound_by"] for r in timed})
                if (those := [abs(r["step_error"]) for r in timed if r["bound_by"] == binder])
            },
            "run_at_a_limit": len(held),
            "out_of_memory_at_it": sum(not r["fits"] for r in held),
            "accepted_at_it": sum(r["accepted"] for r in held),
            "out_of_memory_of_accepted": sum(r["accepted"] and not r["fits"] for r in held),
            "ran_within_what_is_accepted": sum(r["within"] for r in held),
        }
    return figures


def main() -> None:
    """Read the part and its options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all", *APART])
    parser.add_argument("file", nargs="?", type=Path, help="of predictions or measurements")
    parser.add_argument("--only", default="", help="configurations whose name has this")
    parser.add_argument("--device", help="of the catalogue, for `predict`")
    parser.add_argument("--predictions", type=Path, help="whose bounds `measure` runs at")
    parser.add_argument("--limit", type=float, help="seconds after which `measure` begins no further configuration")
    parser.add_argument("--choice-limit", type=float, help="the same of the choice")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # of other people's models
    if chosen.part in APART:
        apart(chosen)
        return
    cluster, measured = here()
    gpu = measured is not None
    for part in PARTS if chosen.part == "all" else (chosen.part,):
        if part == "memory":
            predictions = predict(cluster, chosen.only)
            bounds = {name: one.accepted_bytes for name, one in predictions.items()}
            figures: Any = compare(predictions, measure(cluster, chosen.only, bounds, chosen.limit))
        elif part == "choice":
            if not gpu:
                continue
            figures = judged(run_all(cluster, chosen.choice_limit), cluster)
        else:
            figures = throughput() if part == "throughput" else solved()
        if not chosen.only:
            keep(part, cluster, figures)
    if not gpu:
        for what in ON_GPU_ALONE:
            print(f"not measured, as there is no GPU here: {what}")


def apart(chosen: argparse.Namespace) -> None:
    """Predictions on one machine, measurements on another."""
    if chosen.part == "predict":
        cluster = parse(chosen.device)
        found = {name: one._asdict() for name, one in predict(cluster, chosen.only).items()}
        chosen.file.write_text(json.dumps(found, indent=1))
    elif chosen.part == "measure":
        cluster, measured = here()
        bounds = {}
        if chosen.predictions:
            said = {name: Predicted(**one) for name, one in json.loads(chosen.predictions.read_text()).items()}
            bounds = {name: one.accepted_bytes for name, one in said.items()}
        known = json.loads(chosen.file.read_text()) if chosen.file.exists() else {"actual": {}, "devices": []}
        # a file may be gone on with on another machine, whose host is faster or slower
        devices = [*known["devices"], cluster.device.to_json()]
        there: dict[str, Any] = {"cluster": cluster.to_json(), "devices": devices, "torch": torch.__version__}
        there["calibration"] = None if measured is None else measured.to_json()
        for part in ("actual", "choice", "throughput"):
            if part == "actual":
                found = measure(cluster, chosen.only, bounds, chosen.limit, known[part])
                there[part] = known[part] | {name: one | {"device": len(devices) - 1} for name, one in found.items()}
            elif part == "choice" and measured is not None:
                there[part] = run_all(cluster, chosen.choice_limit)
            elif part == "throughput":
                there[part] = throughput()
            chosen.file.write_text(json.dumps(there, indent=1))
    else:
        there = json.loads(chosen.file.read_text())
        cluster = Cluster.from_json(there["cluster"])
        segments = find(cluster.device.name).segments_bytes  # of the allocator, which is not measured
        cluster = replace(cluster, device=replace(cluster.device, segments_bytes=segments))
        if chosen.part == "compare":
            predictions: dict[str, Predicted] = {}
            for number, plain in enumerate(there.get("devices", [cluster.device.to_json()])):
                own = {name for name, one in there["actual"].items() if one.get("device", 0) == number}
                device = replace(Device.from_json(plain), segments_bytes=segments)
                predictions |= predict(replace(cluster, device=device), chosen.only, own) if own else {}
            actual = {name: one for name, one in there["actual"].items() if name in predictions}
            keep("memory", cluster, compare(predictions, actual), there["torch"])
        if there.get("choice"):
            keep("choice", cluster, judged(there["choice"], cluster), there["torch"])
        if there.get("throughput") and chosen.part == "compare":
            keep("throughput", cluster, there["throughput"], there["torch"])


def keep(part: str, cluster: Cluster, figures: Any, with_torch: str = torch.__version__) -> None:
    """Write the figures of one part."""
    kept = {"device": cluster.device.to_json(), "torch": with_torch, "figures": figures}
    print(write_results(f"planner-{part}-{cluster.device.kind}", kept))


if __name__ == "__main__":
    main()
