"""Ways to make a conversion produce a model that is not the one it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnx_act.recipe import convert
from onnx_act.rewrite.engine import Plan, run_rules
from onnx_act.rewrite.rule import Change, Fidelity

if TYPE_CHECKING:
    import pytest

    from onnx_act.graph.model import OnnxModel


def spoil_weights(monkeypatch: pytest.MonkeyPatch, factor: float = 1.01) -> None:
    """Fusing also multiplies every weight, as a rule with a bug might."""

    def spoil(rules: Any, model: OnnxModel, *rest: Any) -> Plan:
        plan = run_rules(rules, model, *rest)
        for value in model.content.graph.initializers.values():
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy() * factor, name=value.name)
        # Without a change the result is the input, byte for byte, whatever is in memory.
        spoilt = Change(
            rule="spoil_weights",
            fidelity=Fidelity.NUMERIC,
            site="weights",
            before="weights",
            after="other weights",
            nodes=(),
            apply=lambda _: None,
        )
        return Plan((*plan.changes, spoilt), plan.refusals)

    monkeypatch.setattr(convert, "run_rules", spoil)
