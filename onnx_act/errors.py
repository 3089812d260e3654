"""The exceptions this package raises, and the exit code each stands for.

```
OnnxActError                     70  (a bug here, when raised by itself)
├── UsageError                    2  wrong use: the message says what to type instead
│   ├── UnknownNameError          2  an activation, parameter, rule or provider nobody knows
│   ├── SelectorError             2  a selector that does not parse
│   └── NoSiteMatchedError        2  a request that covers nothing in this model
├── ModelError                    3
│   ├── ModelReadError            3  a file that is no ONNX model, or a damaged one
│   └── ModelUnsupportedError     3  a sound model that uses something we cannot handle
├── ProviderUnavailableError      4  an execution provider that was named and cannot run
└── EvidenceError                 1  evidence was asked for and could not be produced
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OnnxActError(Exception):
    """Root of every exception that this package raises on purpose."""

    exit_code: int = 70


class UsageError(OnnxActError):
    """The request is wrong, whatever the model holds."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not among the known ones; the message suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        from difflib import get_close_matches  # noqa: PLC0415 - only on the error path

        self.kind = kind
        self.name = name
        self.known = tuple(sorted(set(known)))
        near = get_close_matches(name.lower(), self.known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(self.known)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.suggestions = tuple(near)


class SelectorError(UsageError):
    """A selector that does not parse; the message points at the position."""


class NoSiteMatchedError(UsageError):
    """No site of the model is covered by the request; the message lists what is there."""


class ModelError(OnnxActError):
    """Something about a model file."""

    exit_code = 3


class ModelReadError(ModelError):
    """The file is not an ONNX model, or a damaged one."""


class ModelUnsupportedError(ModelError):
    """The model is sound but uses something that cannot be handled."""


class ProviderUnavailableError(OnnxActError):
    """An execution provider was named and cannot run here; the message says what to install."""

    exit_code = 4


class EvidenceError(OnnxActError):
    """Evidence was asked for and could not be produced (no runnable input, a runtime crash)."""

    exit_code = 1
