"""How exact each way to write an activation is on the runtime, asked once and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.errors import OnnxActError
from onnx_act.evidence.accuracy import Accuracy, WrittenForm, measure_accuracies
from onnx_act.graph.lower import LoweringUnavailableError, lowerings
from onnx_act.graph.probe_models import activation_probe
from onnx_act.rewrite.expand_gate import GateExpansion
from onnx_act.runtime.cache import Question, keep, recall
from onnx_act.runtime.isolate import run_isolated
from onnx_act.tuning.outcome import accuracy_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_act.graph.lower import Lowering
    from onnx_act.tuning.grouping import SiteGroup

_PROBE_SIZE: Final = 1024
_TIME_LIMIT_S: Final = 300.0


class Exactness:
    """The accuracy of ways to write activations, on one provider."""

    def __init__(self, provider: str, ir_version: int) -> None:
        self._provider = provider
        self._ir_version = ir_version
        self._known: dict[bytes, Accuracy | str] = {}

    def measure(self, groups: Iterable[SiteGroup]) -> None:
        """Measure all ways of these groups that are not known yet, in one process."""
        unknown: dict[bytes, WrittenForm] = {}
        for group in groups:
            lowered = [w for w in group.ways.values() if not isinstance(w, GateExpansion)]
            for way in (self._standard(group), *lowered):
                for form in self._forms(group, way):
                    if form.model in self._known:
                        continue
                    accuracy = _read(recall(self._question(form.model)))
                    if accuracy is None:
                        unknown[form.model] = form
                    else:
                        self._known[form.model] = accuracy
        if not unknown:
            return
        forms = list(unknown.values())
        try:
            found = run_isolated(measure_accuracies, forms, self._provider, timeout_s=_TIME_LIMIT_S)
        except OnnxActError as error:
            found = tuple(str(error) for _ in forms)
        for form, measured in zip(forms, found, strict=True):
            self._known[form.model] = measured
            if isinstance(measured, Accuracy):
                keep(self._question(form.model), {"accuracy": measured.to_dict()})

    def of(self, group: SiteGroup, way: Lowering) -> Accuracy | str:
        """The accuracy of a way, or why it has none. It must have been measured.

        The worst over a few of the parameters that the group's sites have: a factor with few
        digits is exact in ways in which others are not.
        """
        forms = self._forms(group, way)
        if not forms:
            return "it cannot be written at this opset and dtype"
        found = [self._known[form.model] for form in forms]
        return next((a for a in found if isinstance(a, str)), None) or _worst(found)

    def of_standard(self, group: SiteGroup) -> Accuracy | str:
        """The accuracy of the operator, or of the formula where there is none."""
        return self.of(group, self._standard(group))

    def _standard(self, group: SiteGroup) -> Lowering:
        site = group.sites[0]
        assert site.activation is not None
        return lowerings(site.activation, site.parameters, site.scope.opset())[0]

    def _forms(self, group: SiteGroup, way: Lowering) -> list[WrittenForm]:
        """One form for each of a few parameters; none where it cannot be written."""
        site = group.sites[0]
        assert site.activation is not None
        assert site.dtype is not None
        found = []
        for parameters in _few_parameters(group):
            given = (way, site.activation, parameters, site.dtype, site.scope)
            try:
                probe = activation_probe(*given, self._ir_version, _PROBE_SIZE)
            except LoweringUnavailableError:
                return []
            found.append(WrittenForm(site.activation.name, parameters, probe))
        return found

    def _question(self, probe: bytes) -> Question:
        return Question("accuracy", self._provider, (probe,), ("of 40000 inputs",))


def _few_parameters(group: SiteGroup) -> list[dict[str, float | str]]:
    """The least, a middle one and the greatest of what the sites of a group have."""
    found: dict[str, dict[str, float | str]] = {}
    for site in group.sites:
        lengths = [v.size for v in site.parameters.values() if isinstance(v, np.ndarray)]
        places = {0, *(k for n in lengths for k in (n // 3, 2 * n // 3, n - 1))}
        for place in sorted(places):
            parameters = {
                k: float(v.flat[min(place, v.size - 1)]) if isinstance(v, np.ndarray) else v
                for k, v in site.parameters.items()
            }
            found.setdefault(repr(parameters), parameters)
    ordered = sorted(found.values(), key=lambda p: [(isinstance(v, str), v) for v in p.values()])
    return [ordered[k] for k in sorted({0, len(ordered) // 2, len(ordered) - 1})]


def _worst(found: Sequence[Accuracy | str]) -> Accuracy:
    accuracies = [a for a in found if isinstance(a, Accuracy)]
    return Accuracy(
        max(a.median_ulp for a in accuracies),
        max(a.p99_ulp for a in accuracies),
        max(a.max_abs for a in accuracies),
        tuple(dict.fromkeys(w for a in accuracies for w in a.wrong_at)),
    )


def _read(kept: Mapping[str, object] | None) -> Accuracy | None:
    """What was kept of an accuracy, None where that cannot be read."""
    accuracy = (kept or {}).get("accuracy")
    if not isinstance(accuracy, dict):
        return None
    try:
        return accuracy_from_dict(accuracy)
    except (KeyError, TypeError, ValueError):
        return None
