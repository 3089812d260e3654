"""A recognised region as a model of its own, that a runtime can be asked about."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import helper
from onnx.reference import ReferenceEvaluator

from onnx_act.activations.readings import evaluate
from onnx_act.graph.constants import Constants
from onnx_act.graph.types import shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site

    Array = npt.NDArray[Any]

_FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}
_TAIL = [9.0, 12.0, 15.5, 18.0, 20.5, 30.0, 60.0, 88.0, 100.0, 1e3, 1e4]


def grid() -> Array:
    """Dense around zero, with tails, in pairs of opposite sign."""
    near = np.concatenate([np.logspace(-3, -1, 6), np.linspace(0.11, 8.03, 90), _TAIL])
    return np.concatenate([-near[::-1], [0.0], near])


def is_float(site: Site) -> bool:
    return site.dtype is not None and site.dtype.name in _FLOATS


def region_model(model: OnnxModel, site: Site, constants: Constants) -> onnx.ModelProto:
    """The nodes of a site, its input as the one graph input, its constants as initializers."""
    assert site.input is not None
    assert site.dtype is not None
    made = {v for n in site.nodes for v in n.outputs}
    nodes = [ir.to_proto(n) for n in site.nodes]
    weights: dict[str, onnx.TensorProto] = {}
    for node, proto in zip(site.nodes, nodes, strict=True):
        for place, value in enumerate(node.inputs):
            if value is None or value in made:
                continue
            if value is site.input:
                proto.input[place] = "x"
                continue
            array = constants.array(value)
            assert array is not None, f"{site.id} uses {value.name}, which is not constant"
            name = f"w_{value.name}"
            proto.input[place] = name
            dtype = constants.dtype(value)
            assert dtype is not None
            weights[name] = helper.make_tensor(
                name, int(dtype), array.shape, np.ascontiguousarray(array).tobytes(), raw=True
            )
    shape = region_shape(site, [tuple(w.dims) for w in weights.values()])
    imports = [helper.make_opsetid(d, v) for d, v in site.scope.opsets.items()]
    if not any(o.domain in {"", "ai.onnx"} for o in imports):
        imports.append(helper.make_opsetid("", 13))
    graph = helper.make_graph(
        nodes,
        "region",
        [helper.make_tensor_value_info("x", int(site.dtype), shape)],
        [onnx.ValueInfoProto(name=str(site.output.name))],
        list(weights.values()),
    )
    functions = [ir.to_proto(f) for f in model.content.functions.values()]
    return helper.make_model(
        graph,
        opset_imports=imports,
        functions=functions,
        ir_version=max(model.content.ir_version, 4),
    )


def region_shape(site: Site, constants: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """A shape that suits the constants, with the whole grid along one axis they leave free."""
    known = shape_of(site.input)
    rank = max([1 if known is None else len(known), *(len(c) for c in constants)])
    dims = [1] * rank
    for constant in constants:
        for back, size in enumerate(reversed(constant), start=1):
            dims[-back] = max(dims[-back], size)
    free = [axis for axis, size in enumerate(dims) if size == 1]
    assert free, f"{site.id}: constants leave no axis free"
    dims[free[-1]] = len(grid())
    return tuple(dims)


def region_key(model: onnx.ModelProto, site: Site) -> str:
    """Equal for regions that are written alike, whatever their names."""
    names: dict[str, str] = {"x": "x"}
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        content = f"{tensor.data_type}{list(tensor.dims)}".encode() + tensor.raw_data
        names[tensor.name] = hashlib.sha256(content).hexdigest()
    for place, node in enumerate(model.graph.node):
        names.update({name: f"{place}.{k}" for k, name in enumerate(node.output)})
        bare = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
        bare.input.extend(names.get(name, name) for name in node.input)
        bare.attribute.extend(sorted(node.attribute, key=lambda a: a.name))
        digest.update(bare.SerializeToString(deterministic=True))
    digest.update(str([(o.domain, o.version) for o in model.opset_import]).encode())
    digest.update(str(model.graph.input[0].type).encode())
    digest.update(repr((site.name, sorted(site.parameters))).encode())
    return digest.hexdigest()


def run_region(model: onnx.ModelProto, x: Array) -> Array:
    """What the region does with x: in ONNX Runtime, node by node as written."""
    if x.dtype != ml_dtypes.bfloat16:  # of which ONNX Runtime's CPU has no activation
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return np.asarray(session.run(None, {"x": x})[0])
        except ort.capi.onnxruntime_pybind11_state.Fail as error:
            # A newer opset or IR than this ONNX Runtime knows is onnx's to run.
            if "official support" not in str(error) and "IR version" not in str(error):
                raise
    with np.errstate(all="ignore"):
        results: Any = ReferenceEvaluator(model).run(None, {"x": x})
    return np.asarray(results[0])


def feed_of(model: onnx.ModelProto) -> Array:
    info = model.graph.input[0].type.tensor_type
    shape = tuple(d.dim_value for d in info.shape.dim)
    points = grid()
    axis = max(k for k, size in enumerate(shape) if size == len(points))
    column = points.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    kind = helper.tensor_dtype_to_np_dtype(info.elem_type)
    return np.broadcast_to(column, shape).astype(kind)


def assert_is_its_activation(site: Site, model: onnx.ModelProto) -> None:
    """Fail when the region is not the activation it was called, as exactly as its dtype allows.

    The bound is 12 units in the last place of max(1, |x|, |f(x)|): every node rounds once, and the
    longest spelling has about a dozen. ONNX Runtime's float32 Tanh, Sigmoid and Erf are rational
    approximations good to 1e-7 absolutely, not relatively, so that a gate times x is off by as
    much times |x|: the same bound.
    """
    assert site.activation is not None
    x = feed_of(model)
    y = run_region(model, x)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    exact, got = x.astype(np.float64), y.astype(np.float64)
    wanted = evaluate(site.activation.expression(site.parameters), exact)
    unit = float(ml_dtypes.finfo(x.dtype).eps)  # type: ignore[no-untyped-call]
    assert not np.isnan(got).any(), f"{site.id} makes NaN"
    scale = np.maximum(1.0, np.maximum(np.abs(exact), np.abs(wanted)))
    bound = 12 * unit * scale
    with np.errstate(invalid="ignore", over="ignore"):
        if any(n.op_type == "Log" for n in model.graph.node):
            # Log(Sigmoid(x)): an absolute error of the gate is a relative one of its logarithm,
            # and from about 16 on, where the gate itself is that small, there is nothing left.
            bound = np.where(np.abs(exact) > 15.0, np.inf, bound + unit * np.exp(np.abs(exact)))
        rounded = wanted.astype(x.dtype).astype(np.float64)
        gap = np.where((got == wanted) | (got == rounded), 0.0, np.abs(got - wanted))
    worst = int(np.argmax(~(gap <= bound)))
    assert gap.flat[worst] <= bound.flat[worst], (
        f"{site.id} is not {site.name}{site.parameters}: at {exact.flat[worst]} "
        f"{got.flat[worst]}, and not {wanted.flat[worst]}"
    )


def constants_of(model: OnnxModel) -> Constants:
    return Constants(model)
