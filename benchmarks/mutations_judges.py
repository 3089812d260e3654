"""What judges whether two models are the same: ours, and the checks of other packages.

Every one runs with its defaults, and answers `same` or `differs`. What it raises on a pair counts
as `differs`, unless it also raises when it is given the original twice: then it has no answer.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx

from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.graph.model import load_model
from onnx_act.graph.statistics import coarsest_float, measure_depth
from onnx_act.recipe.inputs import suited_feeds
from onnx_act.runtime.feeds import FeedRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAME: Final = "same"
DIFFERS: Final = "differs"
SILENT: Final = "no answer"
ABSENT: Final = "not installed"
OURS: Final = "onnx-act"


def ours(original: Path, changed: Path) -> tuple[bool, str]:
    """As `onnx-act validate` judges; whether they are the same, and why not."""
    model = load_model(original)
    feeds, _ = suited_feeds(FeedRequest(), model)
    found = judge_equivalence(
        original,
        changed,
        request=feeds,
        threads=1,
        depth=measure_depth(model),
        coarsest_dtype=coarsest_float(model),
    )
    return found.passed, found.reason


def _onnxsim(original: Path, changed: Path) -> bool:
    """Its comparison of a simplified model: five random inputs in [0, 1)."""
    np.random.seed(0)  # noqa: NPY002 - it draws from there
    checking = importlib.import_module("onnxsim.model_checking")
    compare = checking.compare
    return bool(compare(onnx.load(changed), onnx.load(original), verbose=False))


def _onnxslim(original: Path, changed: Path) -> bool:
    """What `onnxslim --model-check` does before and after: one random input in [0, 1)."""
    np.random.seed(0)  # noqa: NPY002 - it draws from there
    module: Any = importlib.import_module("onnxslim.utils")
    feed, before, _ = module.check_onnx(onnx.load(original))
    after, _ = module.onnxruntime_inference(onnx.load(changed), feed)
    return bool(module.check_result(before, after))


def _polygraphy(original: Path, changed: Path) -> bool:
    """What `polygraphy run A --onnxrt` against another run's outputs compares."""
    comparator: Any = importlib.import_module("polygraphy.comparator").Comparator
    backend: Any = importlib.import_module("polygraphy.backend.onnxrt")
    runners = [
        backend.OnnxrtRunner(backend.SessionFromOnnx(str(path)), name=name)
        for path, name in ((original, "original"), (changed, "changed"))
    ]
    return bool(comparator.compare_accuracy(comparator.run(runners)))


#: Other packages' judges, by the package that they need.
PEERS: Final[dict[str, Callable[[Path, Path], bool]]] = {
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "polygraphy": _polygraphy,
}


class Peer:
    """The judge of another package, for one original."""

    def __init__(self, name: str, original: Path) -> None:
        self._judge = PEERS[name]
        self._original = original
        self._standing = ABSENT
        if find_spec(name) is not None:
            self._standing = SILENT if self._ask(original) == SILENT else ""

    def __call__(self, changed: Path) -> str:
        """Its answer for one candidate."""
        if self._standing:
            return self._standing
        answer = self._ask(changed)
        return DIFFERS if answer == SILENT else answer

    def _ask(self, changed: Path) -> str:
        logging.disable(logging.CRITICAL)
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                return SAME if self._judge(self._original, changed) else DIFFERS
        except (Exception, SystemExit):  # noqa: BLE001 - whatever a peer raises
            return SILENT
        finally:
            logging.disable(logging.NOTSET)
