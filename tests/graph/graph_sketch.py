"""Writing small ONNX graphs down in few words, with the constants in any disguise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.sites import Site

COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "Sum"})
SHAPE = ("N", 4, 3, 2)


@dataclass(frozen=True)
class Style:
    """How a spelling is dressed; none of it changes the function.

    Attributes:
        dtype: of x and of the constants.
        shape: of every scalar constant.
        kind: what makes a constant: initializer, node, expand, reshape, unsqueeze, cast, identity.
        commuted: whether operands of commutative operators are turned round.
        between: whether an Identity stands behind every node.
        around: another dtype to compute in, between two Casts.
    """

    dtype: int = TensorProto.FLOAT
    shape: tuple[int, ...] = ()
    kind: str = "initializer"
    commuted: bool = False
    between: bool = False
    around: int | None = None

    @property
    def inner(self) -> int:
        return self.dtype if self.around is None else self.around

    def __str__(self) -> str:
        words = [TensorProto.DataType.Name(self.dtype).lower(), str(list(self.shape)), self.kind]
        words += ["commuted"] * self.commuted + ["identities"] * self.between
        if self.around is not None:
            words.append(f"in_{TensorProto.DataType.Name(self.around).lower()}")
        return "-".join(words)


PLAIN = Style()


class Sketch:
    """One graph over x being written down; call it with an operator to add a node."""

    def __init__(
        self,
        style: Style = PLAIN,
        *,
        opset: int = 20,
        shape: Sequence[int | str | None] | None = SHAPE,
    ) -> None:
        self.style = style
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", style.dtype, shape)]
        self.functions: list[onnx.FunctionProto] = []
        self.domains: dict[str, int] = {}
        self._count = 0

    def fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def __call__(
        self, op_type: str, *operands: str | float, domain: str = "", **attributes: Any
    ) -> str:
        names = [o if isinstance(o, str) else self.constant(o) for o in operands]
        if self.style.commuted and op_type in COMMUTATIVE:
            names.reverse()
        out = self.fresh(op_type)
        self.nodes.append(
            helper.make_node(
                op_type, names, [out], name=f"n_{out}", domain=domain or None, **attributes
            )
        )
        if domain:
            self.domains.setdefault(domain, 1)
        if self.style.between:
            passed = self.fresh("passed")
            self.nodes.append(helper.make_node("Identity", [out], [passed], name=passed))
            return passed
        return out

    def input(self, name: str, shape: Sequence[int | str] | None = (), dtype: int = 0) -> str:
        info = helper.make_tensor_value_info(name, dtype or self.style.dtype, shape)
        self.inputs.append(info)
        return name

    def constant(
        self, value: Any, shape: tuple[int, ...] | None = None, kind: str | None = None
    ) -> str:
        """A number in the style's shape, or an array in its own."""
        array = np.asarray(value, dtype=np.float64)
        wanted = shape
        if wanted is None:
            wanted = self.style.shape if array.ndim == 0 else array.shape
        kind = kind or self.style.kind
        if kind == "unsqueeze" and (array.ndim or not wanted or set(wanted) != {1}):
            kind = "expand"
        if kind == "expand" and array.shape == wanted:
            kind = "reshape"
        target = self.style.inner
        match kind:
            case "expand":
                return self._made("Expand", self._stored(array, target), self._ints(wanted))
            case "unsqueeze":
                axes = self._ints(range(len(wanted)))
                return self._made("Unsqueeze", self._stored(array, target), axes)
            case "reshape":
                flat = np.broadcast_to(array, wanted).reshape(-1)
                return self._made("Reshape", self._stored(flat, target), self._ints(wanted))
            case "cast":
                held = self._stored(np.broadcast_to(array, wanted), TensorProto.DOUBLE)
                return self._made("Cast", held, to=target)
            case "identity":
                held = self._stored(np.broadcast_to(array, wanted), target)
                return self._made("Identity", held)
            case "node":
                tensor = self._tensor(np.broadcast_to(array, wanted), target, "")
                return self._made("Constant", value=tensor)
        return self._stored(np.broadcast_to(array, wanted), target)

    def _made(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        out = self.fresh(f"c_{op_type}")
        self.nodes.append(helper.make_node(op_type, inputs, [out], name=out, **attributes))
        return out

    def _ints(self, values: Any) -> str:
        name = self.fresh("ints")
        array = np.asarray(list(values), dtype=np.int64)
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def _stored(self, array: Any, dtype: int) -> str:
        name = self.fresh("w")
        self.initializers.append(self._tensor(array, dtype, name))
        return name

    @staticmethod
    def _tensor(array: Any, dtype: int, name: str) -> onnx.TensorProto:
        kind = helper.tensor_dtype_to_np_dtype(dtype)
        stored = np.ascontiguousarray(np.asarray(array).astype(kind)).reshape(np.shape(array))
        return helper.make_tensor(name, dtype, stored.shape, stored.tobytes(), raw=True)

    def around(self, build: Any, x: str = "x") -> str:
        """What `build` writes of x, between two Casts where the style wants them."""
        if self.style.around is None:
            return str(build(self, x))
        inner = self._made("Cast", x, to=self.style.around)
        return self._made("Cast", str(build(self, inner)), to=self.style.dtype)

    def model(self, *outputs: str, ir_version: int | None = None) -> onnx.ModelProto:
        """The model; a single output is renamed y, and outputs are declared without a type."""
        names = {outputs[0]: "y"} if len(outputs) == 1 and outputs[0] != "x" else {}
        for node in self.nodes:
            for listed in (node.input, node.output):
                for place, name in enumerate(listed):
                    listed[place] = names.get(name, name)
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            self.inputs,
            [onnx.ValueInfoProto(name=names.get(o, o)) for o in outputs],
            self.initializers,
        )
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(d, v) for d, v in self.domains.items()]
        return helper.make_model(
            graph,
            opset_imports=imports,
            functions=self.functions,
            ir_version=ir_version or helper.find_min_ir_version_for(imports, ignore_unknown=True),
        )


def sites_of(model: onnx.ModelProto, *, routine: bool = False) -> list[Site]:
    return find_sites(load_model(model), routine=routine)


def parsed(text: str) -> onnx.ModelProto:
    """A model from ONNX text."""
    return onnx.parser.parse_model(text)
