"""A run along a stream as bytes, after some of its blocks: what a killed one goes on from. safetensors and JSON, no pickle.

What follows from the stream and the settings is made again: encoded rows, references, the detector of errors (from the
errors themselves), and random numbers, which every block draws from a seed of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from abi.adapted import Adaptation
from abi.adapting.learner import Own, View
from abi.adapting.online import OnlineNetwork
from abi.adapting.watch import Watch
from abi.documents import document, find, read_document
from abi.families.artifact import Blueprint
from abi.families.trees import TreesBlueprint, TreesModel, made
from abi.problem import Schema
from abi.types import Attention, Plan

if TYPE_CHECKING:
    from abi.adapting.run import Run

VERSION: Final = 2
TREES: Final = ("trees", "change")


def pack(run: Run) -> bytes:
    """All that the next block depends on."""
    trail = run.trail
    tensors: dict[str, torch.Tensor] = {}
    for part, columns in (("says", trail.says), ("lost", trail.lost)):
        for name, column in columns.items():
            kept = column if name == "never adapted" else column[: run.row]
            tensors[f"{part}/{name}"] = torch.from_numpy(np.ascontiguousarray(kept, np.float64))
    plain: dict[str, Any] = {
        "version": VERSION,
        "row": run.row,
        "absorbed": run.absorbed,
        "watched_from": run.watched_from,
        "last_look": run.last_look,
        "alarm": run.alarm,
        "blend": [run.blend.losses.tolist(), run.blend.rows],
        "shares": {str(row): shares for row, shares in trail.shares.items()},
        "adaptations": [made.to_json() for made in trail.adaptations],
        "grown": trail.grown,
        "seconds": trail.seconds,
        "notes": run.learner.notes,
        "silent": run.learner.silent,
    }
    own = run.learner.own
    if own is not None:
        tensors["watched"] = torch.from_numpy(own.watch.rows)
        plain["own"], models = _own(own)
        tensors |= models
    return bytes(save_tensors(tensors, metadata={"run": json.dumps(plain)}))


def _own(own: Own) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    plain: dict[str, Any] = {
        "schema": own.view.schema.to_json(),
        "attention": document(own.attention),
        "plans": {name: document(plan) for name, plan in own.plans.items()},
        "grown": own.grown,
        "since": own.since,
    }
    tensors: dict[str, torch.Tensor] = {}
    if own.network is not None:
        plain["network"] = own.network.model.blueprint.to_json()
        tensors |= {f"network/{name}": tensor for name, tensor in own.network.state().items()}
    for name in TREES:
        model: TreesModel | None = getattr(own, name)
        if model is not None:
            plain[name] = model.blueprint.to_json()
            tensors[name] = torch.frombuffer(bytearray(model.text.encode()), dtype=torch.uint8)
    return plain, tensors


def restore(run: Run, data: bytes) -> bool:
    """Put a run of the same stream and settings where `pack` took it from; False where the bytes are damaged."""
    try:
        tensors, plain = load_tensors(data), _header(data)
    except (SafetensorError, ValueError, KeyError):
        return False
    if plain.get("version") != VERSION:
        return False
    trail, stream = run.trail, run.stream
    for name, tensor in tensors.items():
        part, _, key = name.partition("/")
        if part in {"says", "lost"}:
            whole = np.full(stream.rows, -1.0 if part == "says" and not stream.numeric else np.nan)
            whole[: len(tensor)] = tensor.numpy()
            getattr(trail, part)[key] = whole
    trail.shares = {int(row): shares for row, shares in plain["shares"].items()}
    trail.adaptations = [Adaptation.from_json(one) for one in plain["adaptations"]]
    trail.grown, trail.seconds = plain["grown"], plain["seconds"]
    run.row, run.absorbed, run.alarm = plain["row"], plain["absorbed"], plain["alarm"]
    run.watched_from, run.last_look = plain["watched_from"], plain["last_look"]
    run.learner.notes, run.learner.silent = list(plain["notes"]), plain["silent"]
    run.blend.losses, run.blend.rows = np.array(plain["blend"][0]), plain["blend"][1]
    if "own" in plain:
        run.learner.own = _restored(run, plain["own"], tensors)
        run.hush()
        run.watch_again()
    return True


def _restored(run: Run, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Own:
    view = View.of(run.stream, Schema.from_json(plain["schema"]))
    attention = find(read_document(plain["attention"]), Attention)
    plans: dict[Any, Plan] = {name: find(read_document(one), Plan) for name, one in plain["plans"].items()}
    watch = Watch.begin(tensors["watched"].numpy(), view.columns, attention, run.config)
    own = Own(view, attention, plans, watch, grown=tuple(plain["grown"]), since=plain["since"])
    if "network" in plain:
        state = {n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")}
        own.network = OnlineNetwork.restore(plans["network"], Blueprint.from_json(plain["network"]), state)
    for name in TREES:
        if name in plain:
            text = bytes(tensors[name].numpy()).decode()
            threads = plans[name].execution.threads
            setattr(own, name, made(TreesBlueprint.from_json(plain[name]), text, threads))
    return own


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    plain: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["run"])
    return plain
