"""What is known of a column of files, in one pass with flat memory."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image

from abi.config import Config
from abi.data.infer import expect_media
from abi.data.media import MediaColumn, bare_grid, learn_grid, medium_of
from abi.data.memory import hold, read_memory
from abi.data.reader import Reader
from abi.errors import DataError, UsageError
from abi.media.grid import patch_size
from abi.reading import DataConfig, MediaConfig


def png(height: int, width: int, *, colours: bool = False, value: int = 9) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3) if colours else (height, width), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_medium_is_what_the_first_files_are() -> None:
    sound = b"RIFF\0\0\0\0WAVE"
    assert medium_of([pa.array([None, b"", png(4, 4)])]) == "image"
    assert medium_of([pa.array([b"", None], pa.binary()), pa.array([sound])]) == "audio"
    assert medium_of([pa.array([sound, sound, png(4, 4)])]) == "audio"
    assert medium_of([pa.array([b"words"] * 20)]) is None
    assert medium_of([pa.array([b"words"] * 20)], b"audio") == "audio"


def test_a_column_of_binary_that_is_no_file_is_not_read_to_its_end() -> None:
    def blocks():
        yield pa.array([b"words"] * 16)
        pytest.fail("it goes on")

    assert medium_of(blocks()) is None


def test_a_profile_by_hand() -> None:
    column = MediaColumn("photo", "image")
    kept = column.read(pa.array([png(4, 6), None, b"", png(4, 6), b"words"]), 0)
    assert kept.is_valid().to_pylist() == [True, False, False, True, False]
    column.read(pa.array([png(8, 8, colours=True), png(4, 6)[:40]]), 5)
    profile = column.profile()
    assert (profile.type, profile.nulls, profile.distinct) == ("media", 4, 3)
    media = profile.media
    assert media is not None
    assert (media.broken, media.shapes, media.channels, media.height, media.width) == (3, 2, 3, 4, 6)
    assert media.first_broken == "row 3 is empty, damaged in its archive, or was not found"


def test_memory_does_not_grow_with_files() -> None:
    column = MediaColumn("photo", "image")
    for _ in range(10):
        column.read(pa.array([png(4, 6)] * 50), 0)
    assert len(column.found) == 1
    assert column.profile().distinct == 500


def test_the_grid_is_no_larger_than_was_asked_for() -> None:
    column = MediaColumn("photo", "image")
    files = column.read(pa.array([png(40, 80)] * 3), 0)
    made = learn_grid(bare_grid(column.profile(), MediaConfig(size=32)), files)
    # 40 x 80 becomes 16 x 32: 2 x 4 regions of 8 x 8
    assert (made.height, made.width, made.rows, made.cols) == (16, 32, 2, 4)
    assert (made.mean, made.deviation) == ((9.0,), (1.0,))


def _frame(rows: int = 60) -> pa.Table:
    files = [png(8, 16, value=40 + i % 60 + 120 * (i % 2)) for i in range(rows)]
    return pa.table({"photo": files, "price": range(rows), "y": ["ab"[i % 2] for i in range(rows)]})


def test_a_table_in_memory_has_pictures_too() -> None:
    reader = read_memory(_frame(), "y", Config())
    schema = reader.problem.schema
    assert [f.name for f in schema.features if f.kind == "region"] == ["photo[1,1]", "photo[1,2]"]
    rows = reader.load("train")
    assert rows.pictures[0].pixels.shape == (len(rows), 1, 8, 16)
    assert rows.pictures[0].pixels[0, 0, 0, 0] == 40 + rows.row_numbers[0] + 120 * (rows.row_numbers[0] % 2)
    again = read_memory(_frame(), "y", Config()).problem.snapshot.train.sha256
    assert again == reader.problem.snapshot.train.sha256
    other = _frame().set_column(0, "photo", pa.array([png(8, 16), *_frame()["photo"].to_pylist()[1:]]))
    assert read_memory(other, "y", Config()).problem.snapshot.train.sha256 != again


def _levels(reader: Reader) -> set[float]:
    """Brightness of the pictures that the codebook was learned from, each of which shows one."""
    (grid,) = reader.problem.schema.grids
    centres = np.array(grid.centres).reshape(-1, patch_size(grid))
    return set(np.round(centres.mean(axis=1) * grid.deviation[0] + grid.mean[0]).tolist())


def _shades(rows: int = 30) -> pa.Table:
    """Each picture as bright as no other."""
    return pa.table({"photo": [png(8, 8, value=8 * i) for i in range(rows)], "y": ["a", "b"] * (rows // 2)})


@pytest.mark.parametrize("order", [None, "rows"])
def test_grids_learn_from_the_pictures_of_training_rows_alone(order: str | None) -> None:
    config = Config().model_copy(update={"data": DataConfig(order=order)})
    reader = read_memory(_shades(), "y", config)
    assert _levels(reader) == {8.0 * row for row in reader.load("train").row_numbers}
    assert len(reader.load("validation")) > 0
    regions = [feature for feature in reader.problem.schema.features if feature.kind == "region"]
    assert {feature.distinct for feature in regions} == {len(reader.load("train"))}


def test_grids_learn_from_other_pictures_where_training_rows_have_none() -> None:
    reader = read_memory(_shades(), "y", Config())
    cells = _shades()["photo"].to_pylist()
    for row in reader.load("train").row_numbers:
        cells[row] = None
    table = _shades().set_column(0, "photo", pa.array(cells)).append_column("x", pa.array(range(30)))
    again = read_memory(table, "y", Config())
    assert _levels(again) == {8.0 * row for row in again.load("validation").row_numbers}


def test_other_rows_must_hold_pictures_too() -> None:
    schema = read_memory(_frame(), "y", Config()).problem.schema
    table = _frame()
    expect_media(schema, hold(table), "new.csv")
    expect_media(
        schema, hold(table.set_column(0, "photo", pa.nulls(60, pa.string()))), "new.csv"
    )  # none, which is allowed
    names = table.set_column(0, "photo", pa.array([f"{i}.png" for i in range(60)]))
    with pytest.raises(DataError, match=r"Expected images in column 'photo' of new\.csv.*got a column of type string"):
        expect_media(schema, hold(names), "new.csv")
    with pytest.raises(DataError, match=r"Expected the columns .* in new\.csv, got no 'photo': add it to the file"):
        expect_media(schema, hold(table.drop_columns("photo")), "new.csv")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(800), 8000, format="WAV")
    sounds = table.set_column(0, "photo", pa.array([buffer.getvalue()] * 60))
    with pytest.raises(DataError, match="got sounds"):
        expect_media(schema, hold(sounds), "new.csv")


def test_pictures_are_no_target() -> None:
    with pytest.raises(UsageError, match="Expected labels or numbers in the target 'photo', got images"):
        read_memory(_frame(), "photo", Config())


@pytest.mark.parametrize(
    ("mirror", "predictions", "found"),
    [("auto", True, (True, 2)), ("auto", False, (True, None)), (True, True, (True, 2)), (False, False, (False, None))],
)
def test_predictions_see_the_mirror_image_where_training_does(
    mirror: str | bool, predictions: bool, found: tuple[bool, int | None]
) -> None:
    media = MediaConfig(mirror=mirror, mirror_predictions=predictions)
    config = Config().model_copy(update={"data": DataConfig(media=media)})
    (grid,) = read_memory(_frame(400), "y", config).problem.schema.grids  # bright or dark as a whole
    assert (grid.mirrored, grid.views) == found


def test_where_left_and_right_mean_something_predictions_see_the_picture_alone() -> None:
    halves = [np.repeat(np.array([[40, 200], [200, 40]][i % 2], np.uint8), 8)[None].repeat(8, 0) for i in range(400)]
    files = []
    for half in halves:
        buffer = io.BytesIO()
        Image.fromarray(half).save(buffer, "PNG")
        files.append(buffer.getvalue())
    table = pa.table({"photo": files, "y": ["ab"[i % 2] for i in range(400)]})
    config = Config().model_copy(update={"data": DataConfig(media=MediaConfig(mirror_predictions=True))})
    (grid,) = read_memory(table, "y", config).problem.schema.grids
    assert (grid.mirrored, grid.views) == (False, None)


def test_several_labels_of_pictures_decide_on_mirrors_too() -> None:
    random = np.random.default_rng(0)
    bright, loud = random.integers(0, 2, 300), random.integers(0, 2, 300)
    files = [png(8, 16, value=60 + 120 * int(one)) for one in bright]
    labels = [["bright"] * int(a) + ["loud"] * int(b) for a, b in zip(bright, loud, strict=True)]
    table = pa.table({"photo": files, "y": labels})
    config = Config().model_copy(update={"data": DataConfig(media=MediaConfig(mirror_predictions=True))})
    schema = read_memory(table, "y", config).problem.schema
    assert (schema.task, schema.grids[0].mirrored, schema.grids[0].views) == ("multilabel", True, 2)


def test_mirrored_predictions_need_pictures() -> None:
    config = Config().model_copy(update={"data": DataConfig(media=MediaConfig(mirror_predictions=True))})
    with pytest.raises(UsageError, match=r"Expected a column of images .* for data.media.mirror_predictions, got none"):
        read_memory(pa.table({"price": range(60), "y": ["a", "b"] * 30}), "y", config)
