"""Promotion through the registry, from the command line, with three real versions: gates, conflicts, approval, the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from abi.audit.entry import Draft
from abi.config import load_config
from abi.documents import find, read_document
from abi.errors import PromotionConflict
from abi.outcomes import Evaluation, Gain
from abi.problem import Problem
from flows import cli
from tasks import orchestration
from tasks.decisions import open_ledger
from tasks.gates import EVALUATION, FEWEST, compare
from tasks.ledger import Ledger
from tasks.mlflow_runs import STATE
from tasks.model_registry import find_version, mark
from tasks.promotion import before, promote, promoted, rolled_back
from tasks.registered import read_predictor
from tasks.registration import connect, reconcile
from tasks.stage import Call
from tasks.workspace import Workspace
from tests.flows.conftest import QUICK, Answer

LAX = (
    "gates.champion=1",
    "gates.signal=false",
    "gates.uniform=null",
    "gates.baseline=null",
    "gates.calibration=null",
    "gates.movement=null",
)


def flags(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, frame: Callable[..., pd.DataFrame]) -> Path:
    """A workspace with three versions of one model, from three tables."""
    place = tmp_path_factory.mktemp("promote")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            orchestration,
            "in_prefect",
            lambda ws: nullcontext(lambda call, clock, body, name: body(orchestration.in_process(call, clock))),
        )
        for seed in range(3):
            table = place / f"{seed}.csv"
            frame(seed=seed).to_csv(table, index=False)
            words = ["run", str(table), "--target", "label", "--name", "shop", "--workspace", str(place / "ws"), "-q"]
            assert cli.execute([*words, *flags(*QUICK)]) == 0
    return place / "ws"


@pytest.fixture
def on(shop: Path, abi: Callable[..., Answer]) -> Callable[..., Answer]:
    return lambda *words: abi(*words, "--workspace", shop)


@pytest.fixture
def call(shop: Path) -> Call:
    return Call.of(Workspace(shop), "shop", load_config(ambient=False))


def mlflow_aliases(call: Call) -> dict[str, int]:
    found = connect(call).client.get_registered_model("shop").aliases
    return {name: int(version) for name, version in found.items()}


def predictions(call: Call, version: int) -> pd.DataFrame:
    rows = pd.read_csv(Path(call.workspace).parent / "0.csv").head(9)
    found: pd.DataFrame = connect(call).load(f"models:/shop/{version}").predict(rows)
    return found


def test_the_story_of_three_versions(on: Callable[..., Answer], call: Call, shop: Path) -> None:
    ledger = open_ledger(call)
    assert mlflow_aliases(call) == {"challenger": 3}
    assert [e.detail["version"] for e in ledger.entries(kinds=("registration",))] == [1, 2, 3]

    first = on("promote", "--version", 1, "--json", *flags(*LAX))
    assert first.code == 0
    assert first.json["promoted"]
    assert first.json["aliases"]["champion"] == 1
    assert {r["name"]: r["status"] for r in first.json["gates"]["results"]}["loads"] == "passed"
    assert mlflow_aliases(call) == {"champion": 1, "challenger": 3}

    again = on("promote", "--version", 1)
    assert again.code == 2
    assert "which is: nothing is to be done" in again.sentence

    # the gain over the champion is nowhere near a half: every gate is printed, the champion stays
    refused = on("promote", "--json", *flags(*LAX, "gates.champion=0", "gates.baseline=0"))
    failed = {r["name"] for r in refused.json["gates"]["results"] if r["status"] == "failed"}
    if failed:  # by how much version 3 is better is the data's doing
        assert refused.code == 4
        assert "The champion stays" in refused.err
        assert ledger.aliases("shop").champion == 1
        assert ledger.last("gates", "shop").detail["passed"] is False  # type: ignore[union-attr]
        ledger_before = ledger.size()
        assert on("promote", "--approve", "--json").code == 2  # no reason
        assert ledger.size() == ledger_before

    moved = on("promote", "--version", 2, *flags(*LAX, "gates.movement=0.0001"))
    assert moved.code == 4
    assert "movement" in moved.err
    approved = on(
        "promote", "--version", 2, "--approve", "--reason", "a new shelf", *flags(*LAX, "gates.movement=0.0001")
    )
    assert approved.code == 0
    assert "waived" in approved.out
    note = ledger.last("approval", "shop")
    assert note is not None
    assert (note.detail["waived"], note.detail["reason"], note.actor != "") == (["movement"], "a new shelf", True)
    assert mlflow_aliases(call) == {"champion": 2, "previous": 1, "challenger": 3}

    # a gate that may not be approved is not waived
    other = on("promote", "--version", 3, "--approve", "--reason", "please", *flags(*LAX, "gates.slices=0", "gates.latency=1us"))  # fmt: skip
    assert other.code == 4
    assert "latency" in other.err

    was = predictions(call, 1)
    third = on("promote", "--version", 3, "--data", shop.parent / "1.csv", *flags(*LAX))
    assert third.code == 0
    assert ledger.last("gates", "shop").detail["rows"] == 240  # type: ignore[union-attr]  # every fresh row
    assert mlflow_aliases(call) == {"champion": 3, "previous": 2}

    back = on("rollback", "--reason", "worse in the shop", "--json")
    assert back.code == 0
    registered = next(e for e in ledger.entries(kinds=("registration",)) if e.detail["version"] == 2)
    assert {name: back.json["values"][name] for name in ("attention", "plan")} == {
        name: registered.values[name] for name in ("attention", "plan")
    }
    assert mlflow_aliases(call) == {"champion": 2, "previous": 1}
    assert on("rollback", "--reason", "still").code == 0
    assert mlflow_aliases(call) == {"champion": 1}
    pd.testing.assert_frame_equal(predictions(call, 1), was)
    assert on("rollback", "--reason", "more").sentence.endswith("found none: there is nothing to go back to.")
    assert ledger.verify().entries == ledger.size()


def test_on_rows_that_the_champion_learned_from_nothing_is_compared(call: Call, tmp_path: Path) -> None:
    """A model against itself on another split of its own table: the gain is 0 wherever there is a figure."""
    tracking = connect(call)
    one, other = (find_version(tracking, "shop", number) for number in (1, 2))
    judged, theirs = (read_document(tracking.document(v.run_id, EVALUATION)) for v in (one, other))
    assert isinstance(judged, Evaluation)
    assert isinstance(theirs, Evaluation)
    problem = find(judged, Problem)
    again = replace(problem, split=replace(problem.split, seed=1))
    wide = replace(again, split=replace(again.split, test=0.9))
    model = read_predictor(tracking.fetch(one.uri, tmp_path / "one"))
    said, left, learned = compare(call, again, model, model, judged, judged, None)
    assert isinstance(said, str)
    assert f"the champion learned from {learned} of the {left + learned} held-out rows" in said
    assert said.endswith(f"and the other {left} are too few: give fresh rows with --data")
    gained, left, learned = compare(call, wide, model, model, judged, judged, None)
    assert isinstance(gained, Gain)
    assert (gained.difference.value, left >= FEWEST, learned > left) == (0, True, True)
    rows = tmp_path / "few.csv"
    pd.read_csv(Path(call.workspace).parent / "1.csv").head(29).to_csv(rows, index=False)
    said, left, _ = compare(call, problem, model, model, judged, judged, rows)
    assert (said, left) == (
        "no figure: 29 of the fresh rows have a target, and at least 30 are needed: give more with --data",
        29,
    )
    # the other's rows are of another table
    assert compare(call, wide, model, model, judged, theirs, None)[2] == 0


def test_the_way_back_goes_through_each_promotion_once(tmp_path: Path) -> None:
    ledger = open_ledger(Call.of(Workspace(tmp_path / "ws"), "walked", load_config(ambient=False)))

    def promotion(version: int) -> None:
        draft = Draft(kind="promotion", model="walked", detail={"version": version})
        ledger.change(draft, lambda now: promoted(now, version))

    def back() -> tuple[int | None, int | None]:
        to = ledger.aliases("walked").previous
        assert to is not None
        earlier = before(ledger, "walked", to)
        ledger.change(
            Draft(kind="rollback", model="walked", detail={"version": to}), lambda now: rolled_back(now, to, earlier)
        )
        now = ledger.aliases("walked")
        return now.champion, now.previous

    for version in (1, 2, 1):
        promotion(version)
    assert back() == (2, 1)
    assert back() == (1, None)
    for version in (2, 3, 4):
        promotion(version)
    ledger.change(Draft(kind="quarantine", model="walked", detail={"version": 2}), lambda now: now)
    assert back() == (3, 1)  # nobody goes back to a version in quarantine
    promotion(5)
    assert back() == (3, 1)
    assert back() == (1, None)


def test_of_two_that_decided_on_the_same_champion_one_gets_a_conflict(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes between the gates and the entry."""
    ledger, change = open_ledger(call), Ledger.change
    before = ledger.aliases("shop")
    candidate, other = (version for version in (1, 2, 3) if version != before.champion)
    gates = dict.fromkeys(("champion", "uniform", "baseline", "calibration", "movement"))
    settings = call.settings.model_copy(update={"gates": call.settings.gates.model_copy(update=gates)})

    def overtaken(self: Ledger, draft: Any, decide: Any, *, expected: int | None = None) -> Any:
        if draft.kind == "promotion":
            change(self, replace(draft, detail={"version": other}), lambda now: promoted(now, other))
        return change(self, draft, decide, expected=expected)

    monkeypatch.setattr(Ledger, "change", overtaken)
    with pytest.raises(PromotionConflict, match="another promotion came first") as conflict:
        promote(replace(call, config=settings.model_dump_json()), candidate)
    assert conflict.value.expected == before.champion_seq
    assert ledger.aliases("shop").champion == other


def test_aliases_that_somebody_moved_in_mlflow_go_back(call: Call) -> None:
    tracking = connect(call)
    champion = open_ledger(call).aliases("shop").champion
    tracking.client.set_registered_model_alias("shop", "champion", "1" if champion != 1 else "2")
    reconcile(call, tracking, "shop")
    assert mlflow_aliases(call).get("champion") == champion


def test_what_may_not_be_promoted_says_why(on: Callable[..., Answer], call: Call) -> None:
    missing = on("promote", "--version", 9)
    assert (missing.code, "found 1, 2, 3" in missing.sentence) == (2, True)
    tracking = connect(call)
    tracking.client.create_model_version("shop", source=tracking.client.get_model_version("shop", "1").source)
    foreign = on("promote", "--version", 4)
    assert (foreign.code, "which the ledger does not know" in foreign.sentence) == (2, True)
    mark(tracking, find_version(tracking, "shop", 2), STATE, "quarantined")
    assert "which is in quarantine" in on("promote", "--version", 2).sentence
    unknown = on("promote", "--model", "other")
    assert unknown.code == 2
    assert "Expected a registered model, got 'other': choose among 'shop'." in unknown.sentence
    assert "Expected a model name" in on("promote", "--model", "").sentence
    assert "Expected a registered version 0 of 'shop'" in on("promote", "--version", 0).sentence


def test_fresh_rows_without_a_column_are_refused(on: Callable[..., Answer], shop: Path, tmp_path: Path) -> None:
    for lacking in ("label", "size"):
        rows = tmp_path / f"{lacking}.csv"
        pd.read_csv(shop.parent / "0.csv").drop(columns=lacking).to_csv(rows, index=False)
        answer = on("promote", "--version", 1, "--data", rows)
        assert answer.code == 3
        assert f"got no '{lacking}': add it to the file" in answer.sentence


def test_the_leaderboard_ranks_versions(on: Callable[..., Answer]) -> None:
    board = on("leaderboard", "--json").json
    values = [row["metrics"][row["primary"]] for row in board["versions"] if row["state"] != "quarantined"]
    assert values == sorted(values, reverse=True)
    assert {row["version"] for row in board["versions"]} == {1, 2, 3}
    assert json.dumps(board)
    shown = on("leaderboard")
    assert (shown.code, shown.out.count("\n")) == (0, 4)
    assert on("leaderboard", "-q").out == shown.out
    unknown = on("leaderboard", "--model", "other", "--json")
    assert (unknown.code, "Expected a registered model, got 'other'" in unknown.sentence) == (2, True)


def test_a_champion_that_was_deleted_in_mlflow_is_told_and_stands_in_nobodys_way(
    on: Callable[..., Answer], call: Call
) -> None:
    """Last, as it takes a version away."""
    tracking, ledger = connect(call), open_ledger(call)
    mark(tracking, find_version(tracking, "shop", 2), STATE, "")
    champion = ledger.aliases("shop").champion
    assert champion is not None
    other = next(number for number in (3, 2, 1) if number != champion)
    tracking.client.delete_model_version("shop", str(champion))
    board = on("leaderboard", "--json").json["versions"]
    assert [row["version"] for row in board if row["state"] == "gone"] == [board[-1]["version"]] == [champion]
    away = on("leaderboard", "--json", *flags("tracking.uri=http://127.0.0.1:9"))
    assert "gone" not in {row["state"] for row in away.json["versions"]}
    assert "mlflow    whether versions are gone is not known: Expected MLflow at http://127.0.0.1:9" in away.err
    refused = on("promote", "--version", other, *flags(*LAX))
    assert refused.code == 4
    said = (
        f"version {champion}, the champion, is not whole in MLflow any more (Expected a registered version {champion}"
    )
    assert said in refused.err
    assert f"version {champion} of 'shop', champion by the ledger, is not in MLflow any more" in refused.err
    answer = on("promote", "--version", other, *flags(*LAX, "gates.champion=null"))
    assert answer.code == 0, answer.err
    assert mlflow_aliases(call)["champion"] == other
    assert ledger.aliases("shop").champion == other
