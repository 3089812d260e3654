"""How exact each way to write an activation is on the runtime, asked once and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.errors import OnnxActError
from onnx_act.evidence.accuracy import Accuracy, WrittenForm, measure_accuracies
from onnx_act.graph.lower import LoweringUnavailableError, lowerings
from onnx_act.graph.probe_models import activation_probe, simple_parameters
from onnx_act.rewrite.expand_gate import GateExpansion
from onnx_act.runtime.cache import Question, keep, recall
from onnx_act.runtime.isolate import run_isolated
from onnx_act.tuning.outcome import accuracy_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
                form = self._form(group, way)
                if form is not None and form.model not in self._known:
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
        """The accuracy of a way, or why it has none. It must have been measured."""
        form = self._form(group, way)
        if form is None:
            return "it cannot be written at this opset and dtype"
        return self._known[form.model]

    def of_standard(self, group: SiteGroup) -> Accuracy | str:
        """The accuracy of the operator, or of the formula where there is none."""
        return self.of(group, self._standard(group))

    def _standard(self, group: SiteGroup) -> Lowering:
        site = group.sites[0]
        assert site.activation is not None
        return lowerings(site.activation, site.parameters, site.scope.opset())[0]

    def _form(self, group: SiteGroup, way: Lowering) -> WrittenForm | None:
        site = group.sites[0]
        assert site.activation is not None
        assert site.dtype is not None
        try:
            probe = activation_probe(
                way,
                site.activation,
                site.parameters,
                site.dtype,
                site.scope,
                self._ir_version,
                _PROBE_SIZE,
            )
        except LoweringUnavailableError:
            return None
        return WrittenForm(site.activation.name, simple_parameters(site.parameters), probe)

    def _question(self, probe: bytes) -> Question:
        return Question("accuracy", self._provider, (probe,), ("of 40000 inputs",))


def _read(kept: Mapping[str, object] | None) -> Accuracy | None:
    """What was kept of an accuracy, None where that cannot be read."""
    accuracy = (kept or {}).get("accuracy")
    if not isinstance(accuracy, dict):
        return None
    try:
        return accuracy_from_dict(accuracy)
    except (KeyError, TypeError, ValueError):
        return None
