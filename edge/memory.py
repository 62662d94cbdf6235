"""Memory that is free goes back to the system, which the C library would keep: after a call that is some 60 MB for each
of its channels, in pieces that lie between what is still in use."""

import ctypes
import sys
from collections.abc import Callable

# Only glibc has it; musl gives back by itself.
_trim: Callable[[int], int] | None = (
    getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
)


def give_back() -> None:
    """Give back whole pages that nobody uses. It takes up to some tens of milliseconds, without Python's lock."""
    if _trim is not None:
        _trim(0)
