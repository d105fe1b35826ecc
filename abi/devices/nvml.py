"""NVIDIA's management library, through nvidia-ml-py: opened and closed around what is asked of it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class NoGpu(Exception):
    """There is no NVIDIA GPU to ask about; its text is the reason."""


class Silent:
    """A library that answers nothing: what is asked of it gets its default."""

    NVMLError = NoGpu


@contextlib.contextmanager
def opened(library: Any = None) -> Iterator[Any]:
    """The library, ready to be asked.

    Raises:
        NoGpu: it is not installed, or there is no driver, or it failed.
    """
    if library is None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            reason = "nvidia-ml-py is not installed"
            raise NoGpu(reason) from None
    try:
        library.nvmlInit()
    except (library.NVMLError, OSError) as error:
        raise NoGpu(_reason(error)) from None
    try:
        yield library
    except library.NVMLError as error:
        raise NoGpu(_reason(error)) from None
    finally:
        with contextlib.suppress(library.NVMLError):
            library.nvmlShutdown()


def asked(library: Any, call: Callable[[], T], default: T) -> T:
    """The answer, or `default` where this driver or card does not give it."""
    try:
        return call()
    except (library.NVMLError, AttributeError):
        return default


def text(answer: Any) -> str:
    """An answer as text; older releases gave bytes."""
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def driver(library: Any = None) -> str | None:
    """Version of the driver; None without one."""
    try:
        with opened(library) as nvml:
            return text(nvml.nvmlSystemGetDriverVersion())
    except NoGpu:
        return None


def usable_memory(nvml: Any, handle: Any) -> int:
    """Bytes that programs can use: the total less what the driver keeps."""

    def second() -> int:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        return int(memory.total) - int(memory.reserved)

    return asked(nvml, second, 0) or int(nvml.nvmlDeviceGetMemoryInfo(handle).total)


def _reason(error: Exception) -> str:
    return f"NVIDIA's library says: {str(error).rstrip('.') or type(error).__name__}"
