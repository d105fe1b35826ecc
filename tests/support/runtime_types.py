"""Calls inside abi are checked against their annotations, shapes included: of each function and test the 1st, 2nd, 4th, 8th, ... call.

jaxtyping's wrapper costs a call 40 to 100 us and building one 2 ms, by which tests would take twice as long. A test that calls a
function a thousand times has ten of these calls checked, and what no test calls is never wrapped.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Any, Self

import jaxtyping
from beartype import beartype
from jaxtyping import install_import_hook

_every_call = jaxtyping.jaxtyped
_calls: Counter[CodeType] = Counter()


def install(package: str) -> None:
    """Check what is imported of this package from now on."""
    jaxtyping.jaxtyped = _sometimes
    install_import_hook(package, "beartype.beartype")


def begin_test() -> None:
    """The next call of every function is its first again."""
    _calls.clear()


def _sometimes(checked: Any = None, /, *, typechecker: Any) -> Any:
    """`jaxtyping.jaxtyped`, for some of the calls."""
    if checked is None:
        return functools.partial(_sometimes, typechecker=typechecker)
    if inspect.isclass(checked):
        if dataclasses.is_dataclass(checked) and "__init__" in vars(checked):
            checked.__init__ = _function(checked.__init__)
        return checked
    if inspect.isfunction(checked):
        return _function(checked)
    return _every_call(checked, typechecker=_without_self)


def _without_self(function: Any) -> Any:
    """`beartype`, which knows what `Self` is in classes that it decorates alone."""
    function.__annotations__ = {name: Any if hint is Self else hint for name, hint in function.__annotations__.items()}
    return beartype(function)


def _function(plain: Any) -> Callable[..., Any]:
    code = plain.__code__
    checked: Callable[..., Any] | None = None

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        __tracebackhide__ = True
        _calls[code] = number = _calls[code] + 1
        if number & (number - 1):
            return plain(*args, **kwargs)
        if checked is None:
            checked = _every_call(plain, typechecker=_without_self)
        return checked(*args, **kwargs)

    return call
