"""A stage: one plain function from ids to an id, which Prefect can run, cache across runs, and reuse after a crash.

Stages take and return ids of values in the workspace, never frames, so that what Prefect stores is a line of text. Its
cache key holds the inputs' ids, the settings that the stage reads and the id of the code, and not the run: a second run
over the same data, settings and code finds every stage finished.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abi.config import Config
from abi.documents import find
from abi.outcomes import Move
from tasks.workspace import Workspace

LIBRARIES = (
    "great-expectations", "lightgbm", "numpy", "pandas", "pillow", "pyarrow", "scikit-learn", "scipy", "soundfile", "tabm",
    "timm", "tokenizers", "torch", "torchvision", "transformers",
)  # fmt: skip
"""Those that compute, check or read what is computed with; the ones of extras may not be there."""


@dataclass(frozen=True)
class Call:
    """What every stage is told: where to work, the model's name, and the settings as JSON."""

    workspace: str
    name: str
    config: str

    @property
    def ws(self) -> Workspace:
        """The workspace, which exists."""
        return Workspace(Path(self.workspace))

    @property
    def settings(self) -> Config:
        """The settings as they were when the run began."""
        return _settings(self.config)

    @classmethod
    def of(cls, ws: Workspace, name: str, config: Config) -> Call:
        """The call that stages of this run share."""
        return cls(str(ws.root), name, config.model_dump_json())


@functools.lru_cache(maxsize=8)
def _settings(text: str) -> Config:
    return Config.restore(json.loads(text))


@dataclass(frozen=True)
class Stage:
    """A named function `(call, *ids) -> id` with what its result depends on.

    Attributes:
        function: does the work.
        sections: the settings it reads, as `section` or `section.key`.
        named: whether it reads the model's name.
        cached: whether a finished result is reused; False for stages that look at the world outside.
        kept: tells from the result whether what it names is still in the workspace, as the settings want it.
    """

    function: Callable[..., str]
    sections: tuple[str, ...] = ()
    named: bool = False
    cached: bool = True
    kept: Callable[[Call, str], bool] = field(default=lambda call, value_id: call.ws.has(value_id))

    @property
    def name(self) -> str:
        """The verb."""
        return self.function.__name__

    def key(self, call: Call, *inputs: str) -> str:
        """The cache key: equal inputs, settings and code give the same result."""
        plain = call.settings.model_dump(mode="json")
        read = {path: functools.reduce(lambda at, part: at[part], path.split("."), plain) for path in self.sections}
        parts = [self.name, code_id(), call.workspace, call.name if self.named else "", read, inputs]
        return f"{self.name}-{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"


@dataclass
class Clock:
    """Seconds per stage of this run; a stage that ran several times is added up."""

    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, stage: Stage, work: Callable[[], Any]) -> Any:
        """Time `work`."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            spent = self.seconds.get(stage.name, 0.0) + time.perf_counter() - start
            self.seconds[stage.name] = round(spent, 3)


@functools.cache
def code_id() -> str:
    """SHA-256 over the instrument's own source and the versions of the libraries that compute."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in ("abi", "tasks"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    digest.update(json.dumps(versions()).encode())
    return digest.hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on, as far as they are installed."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def continues(call: Call, move: str) -> bool:
    """Whether the loop of rounds goes on after this move."""
    return bool(find(call.ws.get(move), Move).continues)
