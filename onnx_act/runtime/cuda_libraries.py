"""NVIDIA's libraries, which a GPU package can find in other packages when it is told to look."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import Final

import onnxruntime

ON_CUDA: Final = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})
"""Execution providers that compute with CUDA libraries, by their full names."""


@cache
def preload_cuda_libraries() -> None:
    """Load the CUDA libraries that lie in NVIDIA's own or PyTorch's packages, once per process.

    Where none are found nothing happens: the system may have them.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return
    # It reports what it did not find on stdout, where a JSON document may be going.
    with (
        open(os.devnull, "w", encoding="utf-8") as sink,  # noqa: PTH123 - the null device
        contextlib.redirect_stdout(sink),
        contextlib.suppress(Exception),
    ):
        preload()
