"""How ``abi.yaml`` is read: a mapping whose names are texts and stand once; mistakes are told with their line.

Plain values are what YAML 1.2 says they are (its core schema, https://yaml.org/spec/1.2.2/#103-core-schema), not 1.1 as PyYAML
has it, to which 010 is eight, 1:30 is ninety, 1e5 a text, and 2026-01-05 no text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from pydantic_settings import YamlConfigSettingsSource

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 20
MERGE = "tag:yaml.org,2002:merge"
CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", "<<", ["<"]),
)
"""Kind, its spellings, what these begin with."""


class StrictLoader(yaml.SafeLoader):
    """YAML 1.2's values, and an error where a name has two of them, of which YAML's own loader keeps the last."""

    def get_single_data(self) -> Any:
        """What the text stands for; None of an empty one.

        Raises:
            yaml.constructor.ConstructorError: a name is no text, or stands twice.
        """
        node = self.get_single_node()
        self._expect_names(node, set())
        return None if node is None else self.construct_document(node)

    def _expect_names(self, node: yaml.Node | None, seen: set[int]) -> None:
        """See to the names once, before merged ones come among them."""
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            return
        seen.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            for item in node.value:
                self._expect_names(item, seen)
            return
        names = set()
        for key, value in node.value:
            self._expect_names(value, seen)
            if key.tag == MERGE:
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(
                    problem=f"a name is {name!r}, put it in quotes", problem_mark=key.start_mark
                )
            if name in names:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name!r} stands there twice, keep one", problem_mark=key.start_mark
                )
            names.add(name)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number.

        Raises:
            yaml.constructor.ConstructorError: it is none, or has more digits than Python reads.
        """
        text = str(self.construct_scalar(node))
        try:
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        except ValueError:
            raise yaml.constructor.ConstructorError(
                problem=f"{text[:SHOWN]!r}{'...' if len(text) > SHOWN else ''} is no whole number that can be read",
                problem_mark=node.start_mark,
            ) from None


StrictLoader.yaml_implicit_resolvers = {}  # without YAML 1.1's
for _kind, _spelled, _begin in CORE:
    StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_spelled})$"), _begin)
StrictLoader.add_constructor("tag:yaml.org,2002:int", StrictLoader.construct_yaml_int)


def read(text: str) -> Any:
    """What a text of YAML stands for.

    Raises:
        yaml.YAMLError: it is no YAML, is nested too deeply, or has a value that is not what its tag says.
    """
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        msg = "it is nested too deeply"
        raise yaml.YAMLError(msg) from None
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # PyYAML's, of a value with a tag before it
        detail = f" ({error})" if isinstance(error, ValueError) else ""
        msg = f"a value is not what its tag says{detail}"
        raise yaml.YAMLError(msg) from None


class SettingsFile(YamlConfigSettingsSource):
    """The file as a source of settings."""

    def _read_file(self, file_path: Path) -> dict[str, Any]:  # type: ignore[override] # no other kinds of paths are read
        """Nothing of an empty file.

        Raises:
            ValueError: it is no YAML, or no mapping of names to values; the message has the place.
        """
        try:
            found = read(file_path.read_text("utf-8"))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
            msg = f"{place}{error.problem or error.context}"
            raise ValueError(msg) from None
        if found is None:
            return {}
        if not isinstance(found, dict):
            msg = f"a {type(found).__name__} in place of names with values, as seed: 1"
            raise ValueError(msg)
        return found
