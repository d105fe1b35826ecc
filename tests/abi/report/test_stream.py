"""The page of a stream."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from abi.adapted import Adaptation, Adapted, Contender
from abi.documents import read_document
from abi.report.stream import headline, render_stream, sentences
from abi.types import Cost


@pytest.fixture
def found(toy):
    """A stream of 300 rows with two decisions, and a feature whose name would end the script."""
    attention = toy.attention(toy.table().problem)

    def decision(number: int, row: int) -> Adaptation:
        return Adaptation(
            number=number, row=row, causes=("error",), reasons=("error: the blend's mean error rose",), first=0, last=99,
            rows=100, attention_before="a" * 64 if number else "", attention="b" * 64, moved=0.25 * number,
            plans_before={}, plans={"trees": "c" * 64}, carried=0.5, classes=(),
            predicted=Cost(parameters=1234, memory_bytes=1, train_time_s=1.0, latency_s=0.1),
            weights={"</script><b>": 0.6, "x1": 0.4 - 0.1 * number},
        )  # fmt: skip

    return Adapted(
        target="y", metric="accuracy", snapshot_sha256="0" * 64, settings="1" * 64, start="cold", champion=None, rows=300,
        begin=100, scored=190, skipped=10, late=1, window=50, at=(150, 300),
        contenders=tuple(
            Contender(name=name, overall=value, window=value, curve=(0.5, 0.75))
            for name, value in (("adapted", 0.9), ("never adapted", 0.7), ("persistence", 0.8), ("majority", 0.5))
        ),
        shares={"persistence": (0.5, 0.25), "trees": (0.5, 0.75)}, adaptations=(decision(0, 100), decision(1, 200)), grown=3,
        seconds=1.5, row_s=0.0075, classes=("no", "yes"), attention=attention, notes=("no network fits",),
    )  # fmt: skip


def test_page_is_whole_carries_its_value_and_asks_nobody(found):
    page = render_stream(found, "<i>shop</i>", "rows.csv", "2026-01-02T03:04:05+00:00", {"operation": "stream-1"})
    assert "<i>shop" not in page
    assert "</script><b>" not in page
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page.replace('xlink:href="#', ""))
    carried = re.search(r'id="abi-stream">(.*?)</script>', page, re.DOTALL)
    assert read_document(json.loads(carried[1])) == found
    assert page.count("<svg") == 3
    assert "from rows" in page
    assert "25.0%" in page
    assert len(page.encode()) < 500_000
    assert page == render_stream(
        found, "<i>shop</i>", "rows.csv", "2026-01-02T03:04:05+00:00", {"operation": "stream-1"}
    )


def test_headline_says_whom_it_beat(found):
    def with_(**values):
        changed = tuple(replace(c, overall=values.get(c.name.split()[0], c.overall)) for c in found.contenders)
        return headline(replace(found, contenders=changed))

    assert (
        with_()
        == "Prequential accuracy 90.0%: better than the model that never adapted (70.0%) and than repeating the last label (80.0%)"
    )
    assert "and not than the model that never adapted (95.0%)" in with_(never=0.95)
    assert with_(persistence=0.97).endswith("not better than repeating the last label (97.0%)")
    errors = tuple(replace(c, overall=1 - c.overall) for c in found.contenders)
    assert "better than the model" in headline(replace(found, metric="rmse", contenders=errors))


def test_sentences_name_what_was_left_out(found):
    said = " ".join(sentences(found))
    assert "10 rows without a label were predicted, not scored and not learned from." in said
    assert "1 class came after the models were begun and was learned at the next growth." in said
    assert "No network fits." in said
    assert "100 rows were learned from before the first was scored" in said
