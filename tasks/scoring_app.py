"""The application that `abi serve` runs: MLflow's model server, which reads rows in CSV as well and refuses in one sentence.

MLflow's own reads CSV by the signature's types, and the model's columns are of any type. Here the rows of a request are read
as `abi predict` reads a file, and handed on in Parquet; all else is MLflow's. Nothing of `abi` is imported before the model is
loaded: the copy that was stored with the model is the one that serves it.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_CSV, CONTENT_TYPE_PARQUET, init, load_model_with_mlflow_config

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


SERVED: Final = "ABI_SERVED_MODEL"
"""Names the folder of the model, as MLflow logged it."""

REFUSED: Final = 400
DIGITS: Final = "integer string conversion"
"""What Python says of whole numbers that are longer than `sys.get_int_max_str_digits`."""

MISSING: Final = re.compile(r"""missing inputs (\[(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|, )*\])""")
"""MLflow's list of the columns that are not there."""


class CsvAsParquet:
    """Rows in CSV become rows in Parquet on their way to the application.

    Args:
        app: gets every request.
        texts: columns that the model reads as text, whatever the rows of one request look like.
    """

    def __init__(self, app: ASGIApp, texts: Collection[str] = ()) -> None:
        self.app, self.texts = app, texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 400 and one sentence where the text is no table."""
        kinds = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"content-type"]
        # other encodings than UTF-8 are refused behind this
        if not kinds or kinds[0].lower().replace(" ", "") not in (
            CONTENT_TYPE_CSV,
            f"{CONTENT_TYPE_CSV};charset=utf-8",
        ):
            await self.app(scope, receive, send)
            return
        text, more = bytearray(), True
        while more:
            part = await receive()
            text += part.get("body", b"")
            more = part.get("more_body", False)
        from abi.errors import AbiError

        try:
            body = await to_thread.run_sync(as_parquet, bytes(text), self.texts)
        except AbiError as error:
            await _refuse(str(error), send)
            return
        headers = [
            (name, value) for name, value in scope["headers"] if name not in (b"content-type", b"content-length")
        ]
        headers += [(b"content-type", CONTENT_TYPE_PARQUET.encode()), (b"content-length", str(len(body)).encode())]

        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def whole() -> Message:
            return parts.pop() if parts else await receive()  # which tells when the client has gone

        await self.app({**scope, "headers": headers}, whole, send)


class PlainRefusals:
    """What MLflow refuses is told in a sentence, without the rows that it repeats.

    Args:
        app: gets every request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on all answers but those of status 400 as they come."""
        body, refused = bytearray(), False

        async def told(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == REFUSED:
                refused = True
            elif not refused:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _refuse(plainly(bytes(body)), send)

        try:
            await self.app(scope, receive, told)
        except RecursionError:
            await _refuse(
                "Expected rows in JSON, got a document that is nested too deeply: give one value per cell.", send
            )
        except ValueError as error:
            if DIGITS not in str(error):
                raise
            await _refuse("Expected rows in JSON, got a whole number of more digits than can be read.", send)


def plainly(body: bytes) -> str:
    """The sentence in an answer of MLflow's server."""
    from abi.errors import lacking_columns

    try:
        said = str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return body.decode("utf-8", "replace")
    lacking = MISSING.findall(said)
    if "Failed to enforce schema of data" in said:  # which it repeats, with all rows
        said = "\nError: " + said.rpartition("Error: ")[2]
    if lacking:
        return str(lacking_columns(ast.literal_eval(lacking[-1])))
    return said.rpartition("\nError: ")[2].partition("\nInput:")[0].strip()


def as_parquet(text: bytes, texts: Collection[str] = ()) -> bytes:
    """The rows of a CSV, with its header, as a Parquet file; columns in `texts` are text.

    Raises:
        DataError: it is no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from abi.data.convert import convert
    from abi.data.pack import told_as
    from abi.data.source import hash_file

    with tempfile.TemporaryDirectory(prefix="abi-rows-") as stage:
        source = Path(stage) / "rows"
        source.write_bytes(text)
        with told_as(source, Path("the request")):
            asked = [texts] if texts else []  # the copy that an earlier release stored knows of none
            table = convert(source, Path(stage), hash_file(source).sha256, *asked)
            batches = [batch for _, batch in table.batches()]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_batches(batches), buffer)
    return buffer.getvalue()


async def _refuse(sentence: str, send: Send) -> None:
    body = json.dumps({"error_code": "BAD_REQUEST", "message": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": REFUSED, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def application() -> Any:
    """The application around the model that the environment names."""
    served = load_model_with_mlflow_config(os.environ[SERVED])
    app = init(served)
    app.add_middleware(CsvAsParquet, texts=getattr(served.unwrap_python_model().model.schema, "spelled", ()))
    app.add_middleware(PlainRefusals)
    return app
