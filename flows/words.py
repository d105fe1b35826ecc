"""Words of a command line: a lone - for standard input, and what is said of those that cyclopts refuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cyclopts import CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from abi.errors import clip, listed

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument, ArgumentCollection

STDIN = "/dev/stdin"
READ = {"data", "source", "before", "after", "test", "config"}
KINDS = {int: "a whole number", float: "a number", bool: "yes or no"}


def with_stdin(app: App, words: list[str]) -> list[str]:
    """The words with a lone - where a file to read is meant as standard input; elsewhere it stays what it says.

    Cyclopts takes a lone - for an option, so one that is an option's value is joined to it.
    """
    if "-" not in words:
        return words
    _, apps, rest = app.parse_commands(words)
    if apps[-1].default_command is None:
        return words
    known = apps[-1].assemble_argument_collection()
    places = [argument for argument in known if argument.index is not None]
    told = words[: len(words) - len(rest)]
    for i, word in enumerate(rest):
        option = None if i == 0 or "--" in rest[:i] else _valued(known, rest[i - 1])
        if word != "-":
            told.append(word)
        elif option is None:
            told.append(STDIN if places and all(_reads(place) for place in places) else word)
        else:
            told[-1:] = [f"{told[-1]}={STDIN if _reads(option) else word}"]
    return told


def _valued(known: ArgumentCollection, word: str) -> Argument | None:
    """The option of that name, where it takes a value."""
    return next((one for one in known if word.startswith("-") and word in one.names and one.token_count()[0]), None)


def _reads(argument: Argument) -> bool:
    return bool({name.lstrip("-") for name in argument.names} & READ)


def sentence(error: CycloptsError) -> str:  # noqa: PLR0911 - one for each mistake
    """What is wrong with a command line, as expected, got and remedy."""
    command = " ".join(("abi", *(error.command_chain or ())))
    see = f"see `{command} --help`"
    match error:
        case UnknownCommandError(unused_tokens=[word, *_]):
            names = [] if error.app is None else [name for name in error.app if not name.startswith("-")]
            if word.startswith("-"):
                return f"Expected a command of `{command}`, got {clip(word)!r}: options stand behind it; {see}."
            return f"Expected a command of `{command}`, got {clip(word)!r}: {_near(word, names, see)}"
        case UnknownOptionError():
            word = error.token.keyword or error.token.value
            names = [name for one in error.argument_collection if one.parse for name in one.names]
            if word == "-":
                return f"Expected an option of `{command}`, got '-': it is standard input only where a file is read; {see}."
            return f"Expected an option of `{command}`, got {clip(word)!r}: {_near(word, names, see)}"
        case MissingArgumentError():
            return _missing(error, see)
        case CoercionError(msg=None, token=token, target_type=kind) if token is not None:
            wanted = KINDS.get(kind, "another value") if kind is not None else "another value"
            return f"Expected {wanted} for {_name(error.argument, token.keyword)}, got {clip(token.value)!r}: {see}."
        case CoercionError(msg=str(told)) if told.startswith("Expected "):
            return told
        case RepeatArgumentError():
            return f"Expected {error.token.keyword} once, got it again with {clip(error.token.value)!r}: leave one out."
        case UnusedCliTokensError(unused_tokens=[*words]):
            return f"Expected no more arguments of `{command}`, got {listed(['-' if word == STDIN else word for word in words])}: quote a value with spaces in it, or {see}."
        case _:
            text = " ".join(str(error).split()).rstrip(".")
            return f"Expected a command line that `{command} --help` describes, got another ({text}): {see}."


def _missing(error: MissingArgumentError, see: str) -> str:
    name = _name(error.argument, error.keyword)
    names = () if error.argument is None else error.argument.names
    if error.keyword is not None or (error.argument is not None and error.argument.tokens):
        return f"Expected a value after {name}, got none: add it; {see}."
    near = difflib.get_close_matches(names[0] if names else "", _options(error.unused_tokens or ()), n=1)
    if near and not name.isupper():
        return f"Expected {name} and its value, got {clip(near[0])!r}: did you mean {listed(names[:1])}?"
    what = name if name.isupper() else f"{name} and its value"
    return f"Expected {what}, got none: add it; {see}."


def _options(words: Iterable[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def _name(argument: Argument | None, keyword: str | None) -> str:
    """What help calls it."""
    if keyword is not None:
        return keyword
    if argument is None:
        return "an option"
    return argument.name.lstrip("-").upper() if argument.index is not None else argument.name


def _near(word: str, names: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {listed(near)}?" if near else f"{otherwise}."
