"""Media columns on the page: the figure, its labels, the grid of channels, the pictures."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from abi.data.columns import Columns
from abi.media.grid import Pictures
from abi.problem import Grid
from abi.report.embed import pack, unpack
from abi.report.exhibits import Exhibits
from abi.report.maps import HEAT, STRONGEST, heat, sound_axes
from abi.report.page import LIMIT_BYTES, render
from abi.report.pictures import MEAN, pixels_of, small_pictures

PHOTO = Grid(
    column="photo <b>", medium="image", channels=3, height=16, width=16, rows=2, cols=2, mean=(90.0,) * 3, deviation=(40.0,) * 3
)  # fmt: skip
CLIP = Grid(
    column="clip", medium="audio", channels=1, height=32, width=64, rows=4, cols=8, mean=(90.0,), deviation=(40.0,), rate=8000, seconds=0.8
)  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def _columns(grids: tuple[Grid, ...], target: np.ndarray, *, lacking: tuple[int, ...] = ()) -> Columns:
    """Row i's pictures have the value 10 i in every pixel."""
    rows = len(target)
    there = np.ones(rows, bool)
    there[list(lacking)] = False
    pictures = tuple(
        Pictures(np.repeat(10 * np.arange(rows), g.channels * g.height * g.width).astype(np.uint8).reshape(rows, g.channels, g.height, g.width), there)
        for g in grids
    )  # fmt: skip
    return Columns(np.zeros((rows, 0)), (), target, np.arange(rows), pictures)


def _svg(html: str, name: str) -> ElementTree.Element:
    found = re.search(rf'<svg [^>]*aria-labelledby="chart-{name}-title">.*?</svg>', html, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def _words(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def report(make_report):
    made = make_report({"age": 0.4}, task="multiclass", grids=(PHOTO, CLIP))
    target = np.array([0, 1, 1, 2, 2, 2])
    columns = _columns((PHOTO, CLIP), target)
    pictures = small_pictures(made.checks.problem.schema, columns)
    return make_report({"age": 0.4}, task="multiclass", grids=(PHOTO, CLIP), exhibits=Exhibits(pictures=pictures))


@pytest.fixture(scope="module")
def html(report):
    return render(report)


def test_pictures_are_the_mean_and_one_row_of_each_class(report):
    shown = report.exhibits.pictures
    assert [(p.column, p.label) for p in shown] == [
        (PHOTO.column, MEAN),
        ("clip", MEAN),
        (PHOTO.column, "c"),  # the most frequent class first
        ("clip", "c"),
        (PHOTO.column, "b"),
        ("clip", "b"),
        (PHOTO.column, "a"),
        ("clip", "a"),
    ]
    values = [int(pixels_of(p)[0, 0]) for p in shown]
    assert values == [25, 25, 30, 30, 10, 10, 0, 0]  # mean of 0 to 50; the first rows of the classes: 3, 1, 0
    assert pixels_of(shown[0]).shape == (16, 16)
    assert pixels_of(shown[1]).shape == (32, 64)


def test_of_a_value_pictures_go_from_the_lowest_to_the_highest(make_report):
    schema = make_report({"age": 0.4}, task="regression", grids=(CLIP,)).checks.problem.schema
    target = np.array([400.0, 100.0, 200.0, 300.0, 900.0])
    shown = small_pictures(schema, _columns((CLIP,), target, lacking=(4,)))
    assert [p.label for p in shown] == [MEAN, "100.0", "200.0", "300.0", "400.0"]
    assert [int(pixels_of(p)[0, 0]) for p in shown] == [15, 10, 20, 30, 0]  # row 4 has no picture


def test_a_column_without_any_picture_has_none(make_report):
    schema = make_report({"age": 0.4}, task="regression", grids=(CLIP,)).checks.problem.schema
    assert small_pictures(schema, _columns((CLIP,), np.array([1.0, 2.0]), lacking=(0, 1))) == ()


def test_examples_end_where_the_room_does(make_report, monkeypatch):
    monkeypatch.setattr("abi.report.pictures.MOST_BYTES", 0)
    schema = make_report({"age": 0.4}, task="regression", grids=(CLIP,)).checks.problem.schema
    assert [p.label for p in small_pictures(schema, _columns((CLIP,), np.arange(4.0)))] == [MEAN]


def test_opacity_follows_attention():
    drawn = heat(np.array([[0.1, 0.2], [0.05, np.nan]]), 0.2)
    np.testing.assert_allclose(drawn[..., 3], [[STRONGEST / 2, STRONGEST], [STRONGEST / 4, 0]])
    np.testing.assert_allclose(drawn[..., :3].reshape(-1, 3), [HEAT] * 4)


def test_axes_of_a_sound_are_hertz_and_seconds():
    hertz, seconds = sound_axes(CLIP)
    assert seconds == ["0.00", "0.10", "0.20", "0.30", "0.40", "0.50", "0.60", "0.70", "0.80"]
    assert hertz[0] == "4,000"  # half the rate
    assert len(hertz) == 5
    figures = [int(text.replace(",", "")) for text in hertz]
    assert figures == sorted(figures, reverse=True)


def test_the_figure_of_a_sound_has_its_axes_and_scale(report, html):
    svg = _svg(html, "map-0")  # 32 regions have more attention than 4
    words = _words(svg)
    assert {"time (s)", "frequency (Hz)", "4,000", "0.80", "0%"} <= set(words)
    weights = [w.weight for w in report.plan.attention.weights if w.feature.startswith("clip")]
    assert f"{100 * max(weights):.3g}%" in words
    images = list(svg.iter(f"{SVG}image"))
    assert [_size(image) for image in images] == [(64, 32), (8, 4), (1, 1), (1, 64)]


def test_the_figure_of_a_picture_numbers_its_regions(html):
    svg = _svg(html, "map-1")
    words = _words(svg)
    assert words[:4] == ["1", "2", "1", "2"]
    assert [_size(image) for image in svg.iter(f"{SVG}image")][:2] == [(16, 16), (2, 2)]
    title = svg.find(f"{SVG}title")
    assert title is not None
    assert title.text == "Attention over photo <b>"


def _size(image: ElementTree.Element) -> tuple[int, int]:
    address = image.get("{http://www.w3.org/1999/xlink}href") or ""
    assert address.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).size


def test_the_grid_of_channels(html):
    grids = re.findall(r'<table class="cells"><tbody>(.*?)</tbody>', html)
    cells = [re.findall(r'<td class="q(\d)">(.*?)</td>', grid) for grid in grids]
    assert cells[1] == [("0", "–"), ("1", "8"), ("2", "16"), ("3", "24")]
    assert len(cells[0]) == 32
    # levels go 0, 1, 2, 3, 4, 0, .. over 32 regions
    assert "6 regions with 32 channels, 6 regions with 24 channels, 6 regions with 16 channels, 7 regions with 8 channels, 7 regions with no channels" in html  # fmt: skip


def test_regions_share_a_row_everywhere(html):
    shown = html.split('<script type="application/json"')[0]
    without_list = re.sub(r"<details.*?</details>", "", shown, flags=re.DOTALL)
    assert "[1,2]" not in without_list.replace("best [2,2]", "")
    assert without_list.count("32 regions") >= 4  # scores, attention, widths, where
    assert "photo &lt;b&gt;" in without_list
    assert "<b>]" not in shown


def test_the_page_stays_small_and_holds_its_report(report, html):
    assert len(html.encode()) < LIMIT_BYTES
    assert unpack(html.split('id="abi-report">')[1].split("</script>")[0]) == report
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", html)


def test_without_exhibits_the_attention_is_drawn_alone(make_report):
    html = render(make_report({"age": 0.4}, grids=(PHOTO,)))
    assert next(_size(image) for image in _svg(html, "map-0").iter(f"{SVG}image")) == (2, 2)
    assert "training rows</b>" not in html


def test_pictures_are_the_first_to_leave_the_json_and_their_lack_is_no_harm(report):
    whole = pack(report, 10**6)
    exhibits = len(json.dumps(report.exhibits.to_json(), separators=(",", ":")))
    short = pack(report, len(whole) - exhibits + 2000)
    assert [one["kind"] for one in json.loads(short)["left_out"]] == ["Exhibits"]
    assert unpack(short) == replace(report, exhibits=None)
    assert unpack(whole) == report
