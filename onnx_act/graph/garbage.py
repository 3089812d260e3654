"""Keeping Python's garbage collector out of the way while a graph is built."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collection_paused() -> Iterator[None]:
    """Run a block without the cyclic garbage collector.

    A graph is hundreds of thousands of objects that all stay: the collector walks them again each
    time they have grown by a quarter, finds nothing, and takes half of the time at 60,000 nodes.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
