"""What Python runs at its start (as `sitecustomize`) where CUDA is to be pretended.

`PRETENDED_CUDA=works`: sessions for CUDA come up and compute on the CPU. `PRETENDED_CUDA=falls
back`: the provider is compiled in, but its libraries do not load. `PRETENDED_CUDA=crashes`: to
open a session with it ends the process. Every session for CUDA is noted in the file
`PRETENDED_CUDA_LOG` with what decides on TF32.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_HOW = os.environ.get("PRETENDED_CUDA", "")
_REAL = onnxruntime.InferenceSession


class _Pretended(_REAL):  # type: ignore[misc,valid-type] # the runtime is not typed
    """A session that says it runs on CUDA."""

    def __init__(self, model: object, options: Any, providers: list[Any], **rest: Any) -> None:
        self.asked = [name for name, _ in providers]
        if _CUDA in self.asked:
            given = dict(providers[0][1])
            noted = {"tf32": os.environ.get("NVIDIA_TF32_OVERRIDE"), "options": given}
            with Path(os.environ["PRETENDED_CUDA_LOG"]).open("a", encoding="utf-8") as log:
                log.write(json.dumps(noted) + "\n")
            if _HOW == "crashes":
                os.abort()
        super().__init__(model, options, providers=[_CPU], **rest)

    def get_providers(self) -> list[str]:
        return [_CPU] if _HOW == "falls back" else self.asked

    def get_provider_graph_assignment_info(self) -> list[Any]:
        parts = super().get_provider_graph_assignment_info()
        name = self.get_providers()[0]
        return [SimpleNamespace(ep_name=name, get_nodes=part.get_nodes) for part in parts]

    def end_profiling(self) -> str:
        path = Path(super().end_profiling())
        told = path.read_text(encoding="utf-8").replace(_CPU, self.get_providers()[0])
        path.write_text(told, encoding="utf-8")
        return str(path)


if _HOW:
    onnxruntime.InferenceSession = _Pretended
    onnxruntime.get_available_providers = lambda: [_CUDA, _CPU]
