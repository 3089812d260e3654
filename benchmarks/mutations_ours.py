"""Right changes to a model that this project makes, see `mutations_right`."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from proto_edits import opset_of

import onnx_act
from onnx_act.errors import OnnxActError
from onnx_act.evidence.written_ways import Exactness, measure_ways
from onnx_act.graph.finding import find_sites
from onnx_act.graph.lower import LoweringUnavailableError
from onnx_act.graph.model import load_model
from onnx_act.recipe.targets import ProviderTargets
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.respell_activation import RespellActivation, is_respellable, ways_to_write
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    import numpy as np


def _converted(model: onnx.ModelProto, **options: Any) -> onnx.ModelProto | None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        onnx.save(model, source)
        try:
            report = onnx_act.convert(source, target, validate=False, bench=False, **options)
        except OnnxActError:
            return None
        if report.exit_code or not report.models[0].to_dict()["changes"]:
            return None
        return onnx.load(target)


def portable(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Folded and fused into standard operators."""
    return _converted(model, fuse="portable")


def contrib(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Folded and fused into every contrib operator there is."""
    return _converted(model, fuse="contrib")


def undone(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:
    """Fused, and taken apart again."""
    fused = contrib(model, rng)
    return None if fused is None else _converted(fused, undo=True)


def raised(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Raised to a higher opset."""
    wanted = next((v for v in (13, 17, 20) if v > opset_of(model)), None)
    if wanted is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        onnx.save(model, source)
        try:
            report = onnx_act.convert(source, target, opset=wanted, validate=False, bench=False)
        except OnnxActError:
            return None
        return None if report.exit_code else onnx.load(target)


def respelled(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:
    """Every activation in another way, of those that round as well as the operator."""
    work = load_model(model)
    choices = {}
    for site in find_sites(work):
        # How exact a way is was measured in float32. In 16 bits ways overflow at other inputs:
        # Log(Sigmoid(x)) is -inf for large inputs where a respelling of it is finite, and whether
        # that is right is not for this table to say.
        if not is_respellable(site) or site.dtype is not ir.DataType.FLOAT:
            continue
        if not all(isinstance(v, (str, int, float)) for v in site.parameters.values()):
            continue
        exact = _exact_ways(site.name, tuple(sorted(site.parameters.items())))
        known = ways_to_write(site, None, contrib=False)
        keys = sorted(key for key in known if key in exact and key != site.written)
        if keys:
            choices[site.id] = keys[int(rng.integers(len(keys)))]
    if not choices:
        return None
    try:
        plan = run_rules([RespellActivation(choices)], work, ProviderTargets((CPU,)))
    except LoweringUnavailableError:
        # A way that the model's opset has not got.
        return None
    return ir.to_proto(work.content) if plan.changes else None


@cache
def _exact_ways(name: str, parameters: tuple[tuple[str, Any], ...]) -> frozenset[str]:
    try:
        ways = measure_ways(name, dict(parameters)).ways
    except OnnxActError:
        return frozenset()
    return frozenset(
        w.key for w in ways if w.exactness in {Exactness.REFERENCE, Exactness.AS_EXACT}
    )
