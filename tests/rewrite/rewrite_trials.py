"""Running rules on small models written as ONNX text, and models in the runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
from capabilities import Cpu, StandIn
from onnx import parser

from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.graph.selectors import parse_selector
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.swap_activation import SwapActivation
from onnx_act.rewrite.swap_request import SwapRequest, parse_swap
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.rewrite.engine import Plan
    from onnx_act.rewrite.rule import Capabilities, Rule

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(slots=True)
class Refusing(StandIn):
    """A target without some operators; it remembers what it was asked."""

    operators: frozenset[str]
    asked: list[bytes]

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:  # noqa: ARG002 - the protocol
        self.asked.append(model)
        found = self.operators & {n.op_type for n in onnx.load_from_string(model).graph.node}
        return f"no kernel for {', '.join(sorted(found))}" if found else None


def refusing(*operators: str) -> Refusing:
    return Refusing(frozenset(operators), [])


def graph(
    body: str,
    weights: str = "",
    inputs: str = "float[N,4] x",
    outputs: str = "float[N,4] y",
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of IR 8 from the text of its parts; `com.microsoft` is imported."""
    stated = f"<{weights}>" if weights else ""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>
        g ({inputs}) => ({outputs}) {stated} {{ {body} }}"""
    model = parser.parse_model(text)
    assert isinstance(model, onnx.ModelProto)
    onnx.checker.check_model(model)
    return model


@dataclass(frozen=True, slots=True)
class Trial:
    """What rules made of a model."""

    plan: Plan
    model: OnnxModel
    proto: onnx.ModelProto

    @property
    def reasons(self) -> list[str]:
        return [r.reason for r in self.plan.refusals]

    @property
    def operators(self) -> list[str]:
        """All but Constant, in order."""
        return [n.op_type for n in self.proto.graph.node if n.op_type != "Constant"]


def run(
    rules: Sequence[Rule], proto: onnx.ModelProto, targets: Capabilities | None = None
) -> Trial:
    model = load_model(proto)
    plan = run_rules(rules, model, targets or Cpu())
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after)
    return Trial(plan, model, after)


def swap(
    proto: onnx.ModelProto,
    *requests: str | SwapRequest,
    where: str | None = None,
    targets: Capabilities | None = None,
) -> Trial:
    parsed = tuple(parse_swap(r) if isinstance(r, str) else r for r in requests)
    selector = None if where is None else parse_selector(where)
    return run([SwapActivation(parsed, selector)], proto, targets)


def outputs(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """What the runtime computes, unoptimised."""
    settings = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    return list(open_session(proto.SerializeToString(), settings).run(feeds))


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    drawn: Array = np.random.default_rng(seed).normal(0, 3, shape)
    return drawn.astype(dtype)
