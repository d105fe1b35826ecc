"""A pretrained image encoder, as the settings name it for a column of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.data.encoder_folder import CONFIG, TOKENIZER, WEIGHTS, expect_files, expect_layers, fingerprint, read_json
from abi.errors import UsageError, clip
from abi.media.encoder import PictureModel
from abi.problem import Pretrained

if TYPE_CHECKING:
    from abi.reading import EncoderConfig

SAVED: Final = "timm's `save_for_hf(model, folder, safe_serialization=True)`"


def describe_pictures(config: EncoderConfig, column: str) -> Pretrained:
    """What the folder holds; the encoder is loaded and sees an empty picture, so that what it costs is known.

    Raises:
        UsageError: it is no image encoder, one that is refused, or one that does not work.
    """
    folder = config.path.expanduser()
    if (folder / TOKENIZER).is_file():
        msg = f"Expected an image encoder for the column {clip(column)!r}, which holds images, got a text encoder in {folder}: name another folder in data.encoders."
        raise UsageError(msg)
    if config.pooling is not None:
        msg = f"Expected no `pooling` for the image encoder of the column {clip(column)!r}, got {config.pooling}: remove it from data.encoders; the encoder pools as it was made to."
        raise UsageError(msg)
    expect_files(folder, column, (CONFIG, WEIGHTS), SAVED)
    read_json(folder / CONFIG)
    model = PictureModel(folder)
    expect_layers(config, column, model.sizes)
    return Pretrained(
        sha256=fingerprint(folder),
        dimensions=model.dimensions,
        pooling="mean",
        normalise=False,
        max_tokens=0,
        parameters=sum(model.sizes.values()),
        matrices=0,
        sight=model.sight,
    )
