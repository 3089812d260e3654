"""Find, swap, fuse and prove the activations of ONNX models.

```python
import onnx_act

print(onnx_act.inspect("model.onnx").to_dict()["sites"])
onnx_act.convert("model.onnx", "out.onnx", swap={"relu": "gelu"}, fuse=True, providers=["cpu"])
```

Everything here is loaded when it is first used: importing the package loads no numeric library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_act.api import (
        bench,
        catalog,
        convert,
        convert_batch,
        fuse,
        inspect,
        rejudge,
        swap,
        tune,
        validate,
    )
    from onnx_act.batch.jobs import JobOutcome
    from onnx_act.errors import (
        EvidenceError,
        ModelError,
        ModelReadError,
        ModelUnsupportedError,
        NoSiteMatchedError,
        OnnxActError,
        ProviderUnavailableError,
        SelectorError,
        UnknownNameError,
        UsageError,
    )
    from onnx_act.report.document import ModelEntry, Outcome, Report

__all__ = [
    "EvidenceError",
    "JobOutcome",
    "ModelEntry",
    "ModelError",
    "ModelReadError",
    "ModelUnsupportedError",
    "NoSiteMatchedError",
    "OnnxActError",
    "Outcome",
    "ProviderUnavailableError",
    "Report",
    "SelectorError",
    "UnknownNameError",
    "UsageError",
    "bench",
    "catalog",
    "convert",
    "convert_batch",
    "fuse",
    "inspect",
    "rejudge",
    "swap",
    "tune",
    "validate",
]

_HOMES = {
    "onnx_act.api": (
        "bench",
        "catalog",
        "convert",
        "convert_batch",
        "fuse",
        "inspect",
        "rejudge",
        "swap",
        "tune",
        "validate",
    ),
    "onnx_act.batch.jobs": ("JobOutcome",),
    "onnx_act.report.document": ("ModelEntry", "Outcome", "Report"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module  # noqa: PLC0415 - on first use only

    home = next((m for m, names in _HOMES.items() if name in names), "onnx_act.errors")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
