"""Documents of the values that cross stages."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import rfc8785

from abi.adapted import Adaptation, Adapted, Contender
from abi.documents import KINDS, document, document_bytes, find, read_document
from abi.errors import UsageError
from abi.monitored import Distribution, Drift, FeatureDrift, Fine, Reference
from abi.outcomes import Conditions, Control, Epoch, Evaluation, Gain, Move, Slice, Source, TermWidth, Trained
from abi.problem import Check, Checks, DataFile, Problem, Snapshot
from abi.types import Attention, Cost, Estimate, Plan, Scores, TermScores, Trial

ESTIMATE = Estimate(value=0.5, low=0.25, high=0.75)


@pytest.fixture(scope="module")
def chain(toy: Any) -> dict[str, Any]:
    """One value of each class, each made from the one before."""
    problem = toy.problem({"x": "numeric", "c": "text"})
    scored = TermScores(
        feature="c", texts=9, terms=("good", "a"), rows=(3.0, 5.0), scores=(1.0, 0.25), errors=(0.5, 0.0)
    )
    attention = toy.attention(problem, [0.9, 0.1], 0.4)
    attention = replace(
        attention,
        scores=replace(attention.scores, terms=(scored,)),
        trials=(Trial(temperature=None, loss=0.5, metric=0.6),),
    )
    plan = toy.plan(problem, attention=attention, parameters=50_000)
    check = Check(name="null", column="x", severity="warning", status="failed", expected="none", observed="3")
    trained = Trained(
        plan=plan,
        seed=1,
        artifact="f" * 64,
        best_epoch=1,
        stopped="early",
        loss=0.25,
        metric=0.75,
        measured=Cost(parameters=10, memory_bytes=1, train_time_s=0.1, latency_s=1e-3),
        attention=(0.5, 0.5),
        history=(Epoch(epoch=1, train_loss=0.5, validation_loss=0.25, metric=0.75, seconds=0.1),),
        terms=(TermWidth(feature="c", term="good", score=1.0, width=4),),
    )
    control = Control(
        name="uniform",
        description="even",
        metrics={"accuracy": ESTIMATE},
        gain=Gain(metric="accuracy", difference=ESTIMATE, relative=0.1),
        parameters=10,
        trials=2,
        train_time_s=0.1,
    )
    evaluation = Evaluation(
        trained=trained,
        rows=3,
        primary="accuracy",
        metrics={"accuracy": ESTIMATE},
        controls=(control,),
        slices=(Slice(feature="x", group="1 to 2", rows=3, metric=ESTIMATE),),
        calibration=None,
        latency_s=1e-3,
        trials=2,
    )
    fine = Fine(ends=(0.5,), rows=(2.0, 1.0), means=(0.25, 0.75))
    x = Distribution(feature="x", kind="numeric", counts=(2, 1, 0, 1), edges=(0.0, 0.5, 1.0), fine=fine)
    reference = Reference(
        problem=problem.id,
        snapshot="0" * 64,
        artifact="f" * 64,
        rows=4,
        features=(x,),
        prediction=None,
        weights=(0.5, 0.5),
        temperature=0.4,
        floor=0.1,
        cap=0.5,
        scoring={"bins": 32},
    )
    moved = FeatureDrift(
        feature="x",
        weight=0.5,
        psi=0.3,
        statistic=0.2,
        p_value=0.001,
        distance=None,
        missing_before=0.25,
        missing_now=0.0,
        unseen=0.0,
        drifted=True,
    )
    drift = Drift(
        model="shop",
        version=3,
        reference=reference.id,
        snapshot="1" * 64,
        time="2026-11-25T00:00:00Z",
        rows=40,
        features=(moved,),
        prediction=None,
        attention=None,
        share=0.5,
        psi=0.3,
        level=1.2,
        judged=True,
        alarm=True,
        due=True,
        since="2026-11-25T00:00:00Z",
        reasons=("x drifted",),
        notes=("no target",),
    )
    adaptation = Adaptation(
        number=1,
        row=20,
        causes=("error", "data"),
        reasons=("x drifted",),
        first=0,
        last=19,
        rows=20,
        attention_before="a" * 64,
        attention="b" * 64,
        moved=0.125,
        plans_before={"network": "c" * 64},
        plans={"network": "d" * 64},
        carried=0.75,
        classes=("third",),
        predicted=Cost(parameters=10, memory_bytes=1, train_time_s=0.1, latency_s=1e-3),
        weights={"x": 0.875, "c": 0.125},
    )
    adapted = Adapted(
        target="y",
        metric="accuracy",
        snapshot_sha256="0" * 64,
        settings="e" * 64,
        start="champion",
        champion=3,
        rows=40,
        begin=8,
        scored=30,
        skipped=2,
        late=1,
        window=10,
        at=(20, 40),
        contenders=(Contender(name="adapted", overall=0.75, window=0.875, curve=(0.5, 0.875)),),
        shares={"network": (0.5, 0.25)},
        adaptations=(adaptation,),
        grown=1,
        seconds=1.5,
        row_s=1e-3,
        classes=("no", "yes", "third"),
        attention=attention,
        notes=("no network",),
    )
    return {
        "Adapted": adapted,
        "Reference": reference,
        "Drift": drift,
        "Snapshot": problem.snapshot,
        "Problem": problem,
        "Checks": Checks(problem=problem, suite_sha256="0" * 64, results=(check,)),
        "Scores": attention.scores,
        "Attention": attention,
        "Plan": plan,
        "Trained": trained,
        "Conditions": Conditions(
            settings={"seed": 0},
            machine=toy.machine.to_json(),
            train_rows=8,
            validation_rows=2,
            code="c",
            libraries={"torch": "2"},
        ),
        "Move": Move(trained=trained, attention=attention, continues=False, reason="enough"),
        "Evaluation": evaluation,
        "Source": Source(uri="models:/other/3", trained=trained),
    }


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_value_survives_json_with_its_id(chain: dict[str, Any], kind: str) -> None:
    value = chain[kind]
    again = read_document(json.loads(json.dumps(document(value))))
    assert type(again) is type(value)
    assert again == value
    assert again.id == value.id


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_bytes_of_a_document_are_those_of_its_json(chain: dict[str, Any], kind: str) -> None:
    assert document_bytes(chain[kind]) == rfc8785.dumps(document(chain[kind]))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_document_with_any_changed_leaf_is_refused(chain: dict[str, Any], kind: str) -> None:
    plain = document(chain[kind])
    tampered = copy.deepcopy(plain)
    node: Any = tampered["value"]
    while isinstance(node, (dict, list)):  # the last leaf
        parent, key = node, (list(node)[-1] if isinstance(node, dict) else len(node) - 1)
        node = node[key]
    parent[key] = "changed" if isinstance(node, str) else 7 if node is None else node + 1
    with pytest.raises(UsageError):
        read_document(tampered)
    read_document(plain)


def test_a_tampered_document_is_named(chain: dict[str, Any]) -> None:
    plain = document(chain["Plan"])
    plain["value"]["reasons"] = []
    with pytest.raises(UsageError, match=r"content of Plan [0-9a-f]{12} unchanged, got other content: run the stage"):
        read_document(plain)


@pytest.mark.parametrize(
    "plain", [None, 3, [], "Plan", {}, {"kind": "Plans"}, {"kind": []}, {"kind": {}}, {"kind": "Cost", "value": {}}]
)
def test_what_is_no_document_is_refused(plain: object) -> None:
    with pytest.raises(UsageError, match="Expected a document that an `abi` stage printed"):
        read_document(plain)


@pytest.mark.parametrize("value", [None, [], "x", {}, {"files": 3}, {"files": [{"role": "train"}]}])
def test_a_document_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="Expected a Snapshot value as an earlier stage prints it"):
        read_document({"kind": "Snapshot", "id": "0", "value": value})


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 0.25])
def test_a_document_with_a_number_that_json_has_not_is_refused(chain: dict[str, Any], loss: float) -> None:
    plain = document(chain["Trained"])
    plain["value"]["loss"] = loss
    if loss == chain["Trained"].loss:
        assert read_document(plain) == chain["Trained"]
        return
    with pytest.raises(UsageError, match="unchanged"):
        read_document(plain)


def test_a_number_past_2_to_the_53_is_refused(toy: Any) -> None:
    plain = document(toy.problem({"x": "numeric"}).snapshot)
    plain["value"]["files"][0]["size_bytes"] = 2**60
    with pytest.raises(UsageError, match="unchanged"):
        read_document(plain)


def test_values_are_frozen(chain: dict[str, Any]) -> None:
    with pytest.raises(FrozenInstanceError):
        chain["Problem"].split = None


def test_find_walks_back_along_the_chain(chain: dict[str, Any]) -> None:
    for kind in (Snapshot, Problem, Scores, Attention, Plan, Trained):
        assert find(chain["Evaluation"], kind) == chain[kind.__name__]
    assert find(chain["Plan"], Plan) is chain["Plan"]


def test_find_does_not_walk_forward(chain: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="holds Plan, got Scores: run the stage before"):
        find(chain["Scores"], Plan)
    with pytest.raises(UsageError, match="holds Scores, got Checks"):
        find(chain["Checks"], Scores)


def test_small_helpers(chain: dict[str, Any]) -> None:
    file = DataFile(role="test", format="csv", md5="1" * 32, sha256="1" * 64, size_bytes=1, rows=1)
    train = chain["Snapshot"].train
    assert chain["Snapshot"].test is None
    assert Snapshot(files=(train, file)).test == file
    assert [c.name for c in chain["Checks"].failed("warning")] == ["null"]
    assert chain["Checks"].failed("critical") == ()
    assert chain["Evaluation"].control("uniform").trials == 2
