"""How ``abi.yaml`` is read: a mapping whose names are texts and stand once; mistakes are told with their line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic_settings import YamlConfigSettingsSource

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

MERGE = "tag:yaml.org,2002:merge"


class StrictLoader(yaml.SafeLoader):
    """YAML's own loader keeps the last of two values of one name; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping.

        Raises:
            yaml.constructor.ConstructorError: a name is no text, or stands twice.
        """
        seen = set()
        for key, _ in node.value:
            if key.tag == MERGE:
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(
                    problem=f"a name is {name!r}, put it in quotes", problem_mark=key.start_mark
                )
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name!r} stands there twice, keep one", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


class SettingsFile(YamlConfigSettingsSource):
    """The file as a source of settings."""

    def _read_file(self, file_path: Path) -> dict[str, Any]:  # type: ignore[override] # no other kinds of paths are read
        """Nothing of an empty file.

        Raises:
            ValueError: it is no YAML, or no mapping of names to values; the message has the place.
        """
        try:
            found = yaml.load(file_path.read_text("utf-8"), StrictLoader)  # noqa: S506 - a SafeLoader
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
