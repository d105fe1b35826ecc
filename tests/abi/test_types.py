"""JSON form, ids and documents of the values that cross stages."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from abi.errors import UsageError
from abi.types import (
    KINDS,
    Attention,
    Check,
    Checks,
    Control,
    Cost,
    DataFile,
    Envelope,
    Epoch,
    Estimate,
    Evaluation,
    Gain,
    Move,
    Plan,
    Problem,
    Scores,
    Slice,
    Snapshot,
    TermScores,
    TermWidth,
    Trained,
    Trial,
    document,
    document_bytes,
    find,
    read_document,
)

PINNED = "10a4e2b5b6c1c4b01608aff5af04e5215c1ed6c8097ac8fc7aad7ca437954a6b"
"""By `sha256sum` of the text in the test, typed by hand."""
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
    return {
        "Snapshot": problem.snapshot,
        "Problem": problem,
        "Checks": Checks(problem=problem, suite_sha256="0" * 64, results=(check,)),
        "Scores": attention.scores,
        "Attention": attention,
        "Plan": plan,
        "Trained": trained,
        "Move": Move(trained=trained, attention=attention, continues=False, reason="enough"),
        "Evaluation": evaluation,
    }


def test_the_id_is_the_hash_of_the_rfc_8785_bytes() -> None:
    # keys sorted, no spaces, 1.0 written as 1, 1e-7 as ECMAScript does
    value = Cost(parameters=3, memory_bytes=2, train_time_s=1.0, latency_s=1e-7)
    text = b'{"latency_s":1e-7,"memory_bytes":2,"parameters":3,"train_time_s":1}'
    assert value.canonical() == text
    assert value.id == hashlib.sha256(text).hexdigest()


def test_an_id_that_was_once_given_stays() -> None:
    text = b'{"latency_s":0.002,"memory_bytes":null,"parameters":200000,"train_time_s":600}'
    envelope = Envelope(parameters=200_000, latency_s=0.002, train_time_s=600.0)
    assert envelope.canonical() == text
    assert envelope.id == PINNED


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


def test_many_numbers_are_packed_as_the_bytes_of_single_floats() -> None:
    value = TermScores(feature="c", texts=2, terms=("a", "b"), rows=(1.0, 2.0), scores=(0.5, -0.0), errors=(0.0, 0.0))
    # 1.0 = 00 00 80 3f, 2.0 = 00 00 00 40, 0.5 = 00 00 00 3f, -0.0 = 00 00 00 80
    plain = value.to_json()
    assert [base64.b64decode(plain[name]).hex() for name in ("rows", "scores")] == [
        "0000803f00000040",
        "0000003f00000080",
    ]
    assert TermScores.from_json(plain) == value


@pytest.mark.parametrize("packed", ["AAAA", "not base64!", "AAAAAAA=", 3, [None]])
def test_what_is_not_packed_floats_is_refused(packed: object) -> None:
    plain = TermScores(feature="c", texts=0, terms=(), rows=(), scores=(), errors=()).to_json()
    with pytest.raises(UsageError, match="Expected a TermScores value"):
        TermScores.from_json(plain | {"rows": packed})


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


def test_equal_values_have_equal_ids_and_different_ones_do_not() -> None:
    first, second = Envelope(parameters=5), Envelope(parameters=5)
    assert (first, first.id) == (second, second.id)
    assert Envelope(parameters=6).id != first.id
    assert replace(first, parameters=6).id == Envelope(parameters=6).id  # the cached id is not carried over


@given(st.integers(1, 2**53 - 1), st.floats(1e-9, 1e9))
def test_any_cost_survives_json(parameters: int, seconds: float) -> None:
    value = Cost(parameters=parameters, memory_bytes=0, train_time_s=seconds, latency_s=seconds)
    assert Cost.from_json(json.loads(json.dumps(value.to_json()))).id == value.id


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
