"""The expression language that activations are declared in.

An expression is an interned, immutable graph over one variable `x`. Declarations build it with
Python's own operators and the functions below; the graph package builds the same expressions
from regions of a model. Everything else (evaluation, derivative, printing, lowering) is a reading
of such a graph, see `readings`.
"""

from __future__ import annotations

import enum
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, Union
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    Loader = Callable[[], npt.NDArray[np.float64]]


class Op(enum.Enum):
    """The operations an expression may use."""

    VARIABLE = "x"
    CONSTANT = "constant"
    ARRAY = "array"
    PARAMETER = "parameter"
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    POW = "pow"
    NEG = "neg"
    ABS = "abs"
    SQRT = "sqrt"
    EXP = "exp"
    EXPM1 = "expm1"
    LOG = "log"
    TANH = "tanh"
    ERF = "erf"
    SIGMOID = "sigmoid"
    SOFTPLUS = "softplus"
    NORMAL_CDF = "normal_cdf"
    HARD_SIGMOID = "hard_sigmoid"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    GREATER = "greater"
    GREATER_EQUAL = "greater_equal"
    NOT = "not"
    WHERE = "where"
    SIGN = "sign"
    SIN = "sin"
    COS = "cos"
    TAN = "tan"
    ATAN = "atan"
    FLOOR = "floor"
    CEIL = "ceil"
    ROUND = "round"


LEAVES: Final = frozenset({Op.VARIABLE, Op.CONSTANT, Op.ARRAY, Op.PARAMETER})


class ArraySource:
    """A constant with one value per channel or element, read only when it is evaluated.

    Attributes:
        key: identity of the constant; two sources with the same key hold the same values.
        shape: its shape, broadcast against the variable from the right as ONNX does.
    """

    __slots__ = ("_load", "key", "shape")

    def __init__(self, key: str, shape: tuple[int, ...], load: Loader) -> None:
        self.key = key
        self.shape = shape
        self._load = load

    def values(self) -> npt.NDArray[np.float64]:
        """The values as float64, of `shape`."""
        return self._load()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArraySource) and (self.key, self.shape) == (other.key, other.shape)

    def __hash__(self) -> int:
        return hash((self.key, self.shape))


Payload = None | float | str | tuple[float, float] | ArraySource
Operand = Union["Expr", float, int]


class Expr:
    """A node of an expression; equal expressions are the same object.

    Attributes:
        op: the operation.
        args: the operands.
        payload: of a constant, `(value, relative uncertainty)`; of a parameter, its name; of an
            array, its `ArraySource`.
        has_arrays: whether an array is in it, and so the weights of a model.
    """

    __slots__ = ("__weakref__", "args", "has_arrays", "op", "payload")

    op: Op
    args: tuple[Expr, ...]
    payload: Payload
    has_arrays: bool

    def __new__(cls, op: Op, args: tuple[Expr, ...] = (), payload: Payload = None) -> Expr:  # noqa: PYI034
        """Return the one expression with this operation, operands and payload."""
        key = (op, tuple(id(a) for a in args), repr(payload) if op is Op.CONSTANT else payload)
        found = _interned.get(key)
        if found is not None:
            return found
        self = super().__new__(cls)
        self.op = op
        self.args = args
        self.payload = payload
        self.has_arrays = op is Op.ARRAY or any(a.has_arrays for a in args)
        _interned[key] = self
        return self

    def __add__(self, other: Operand) -> Expr:
        return Expr(Op.ADD, (self, as_expr(other)))

    def __radd__(self, other: Operand) -> Expr:
        return Expr(Op.ADD, (as_expr(other), self))

    def __sub__(self, other: Operand) -> Expr:
        return Expr(Op.SUB, (self, as_expr(other)))

    def __rsub__(self, other: Operand) -> Expr:
        return Expr(Op.SUB, (as_expr(other), self))

    def __mul__(self, other: Operand) -> Expr:
        return Expr(Op.MUL, (self, as_expr(other)))

    def __rmul__(self, other: Operand) -> Expr:
        return Expr(Op.MUL, (as_expr(other), self))

    def __truediv__(self, other: Operand) -> Expr:
        return Expr(Op.DIV, (self, as_expr(other)))

    def __rtruediv__(self, other: Operand) -> Expr:
        return Expr(Op.DIV, (as_expr(other), self))

    def __pow__(self, other: Operand) -> Expr:
        return Expr(Op.POW, (self, as_expr(other)))

    def __neg__(self) -> Expr:
        return Expr(Op.NEG, (self,))

    def __abs__(self) -> Expr:
        return Expr(Op.ABS, (self,))

    def __repr__(self) -> str:
        from onnx_act.activations.formula import text  # noqa: PLC0415 - printing reads expressions

        return f"Expr({text(self)})"

    def __reduce__(self) -> tuple[type[Expr], tuple[Op, tuple[Expr, ...], Payload]]:
        return Expr, (self.op, self.args, self.payload)


P = ParamSpec("P")
T = TypeVar("T")


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """Remember what a function makes of expressions, but of none that hold a model's weights."""
    cached = lru_cache(maxsize=65536)(function)

    @wraps(function)
    def look_up(*args: P.args, **kwargs: P.kwargs) -> T:
        if any(isinstance(a, Expr) and a.has_arrays for a in args):
            return function(*args, **kwargs)
        # lru_cache takes any hashable; expressions hash by identity, which interning makes equal.
        return cached(*args, **kwargs)  # type: ignore[arg-type]

    return look_up


# Operands are kept alive by the expression that holds them, so their ids are stable keys.
_interned: WeakValueDictionary[tuple[Op, tuple[int, ...], Payload], Expr] = WeakValueDictionary()

X: Final = Expr(Op.VARIABLE)


def constant(value: float, uncertainty: float = 0.0) -> Expr:
    """A number.

    Args:
        value: the number.
        uncertainty: how far, relative to it, the number may be from the one that was meant:
            the rounding of the dtype it was stored in and of the digits it was typed with.
    """
    return Expr(Op.CONSTANT, (), (float(value), uncertainty))


def array(source: ArraySource) -> Expr:
    """A constant with one value per channel or element."""
    return Expr(Op.ARRAY, (), source)


def parameter(name: str) -> Expr:
    """A parameter of a declaration that has no value yet."""
    return Expr(Op.PARAMETER, (), name)


def as_expr(value: Operand) -> Expr:
    """An operand of an expression; numbers become exact constants."""
    return value if isinstance(value, Expr) else constant(float(value))


def apply(op: Op, *args: Operand) -> Expr:
    """The operation `op` on `args`."""
    return Expr(op, tuple(as_expr(a) for a in args))


def maximum(a: Operand, b: Operand) -> Expr:
    """The larger of two; NaN when either is."""
    return apply(Op.MAXIMUM, a, b)


def minimum(a: Operand, b: Operand) -> Expr:
    """The smaller of two; NaN when either is."""
    return apply(Op.MINIMUM, a, b)


def clip(a: Operand, low: Operand, high: Operand) -> Expr:
    """`a` bounded to [low, high]."""
    return minimum(maximum(a, low), high)


def where(condition: Expr, a: Operand, b: Operand) -> Expr:
    """`a` where the condition holds, else `b`."""
    return apply(Op.WHERE, condition, a, b)


def greater(a: Operand, b: Operand) -> Expr:
    """The condition a > b."""
    return apply(Op.GREATER, a, b)


def exp(a: Operand) -> Expr:
    """E to the power of `a`."""
    return apply(Op.EXP, a)


def log(a: Operand) -> Expr:
    """Natural logarithm."""
    return apply(Op.LOG, a)


def expm1(a: Operand) -> Expr:
    """exp(a) - 1 without cancellation near zero."""
    return apply(Op.EXPM1, a)


def tanh(a: Operand) -> Expr:
    """Hyperbolic tangent."""
    return apply(Op.TANH, a)


def erf(a: Operand) -> Expr:
    """Error function."""
    return apply(Op.ERF, a)


def sigmoid(a: Operand) -> Expr:
    """1 / (1 + exp(-a)), stable in both tails."""
    return apply(Op.SIGMOID, a)


def softplus(a: Operand) -> Expr:
    """log(1 + exp(a)), stable in both tails."""
    return apply(Op.SOFTPLUS, a)


def normal_cdf(a: Operand) -> Expr:
    """The standard normal distribution function, (1 + erf(a / sqrt 2)) / 2, stable on the left."""
    return apply(Op.NORMAL_CDF, a)


def hard_sigmoid(a: Operand, alpha: Operand, beta: Operand) -> Expr:
    """clip(alpha * a + beta, 0, 1)."""
    return apply(Op.HARD_SIGMOID, a, alpha, beta)


def topological(root: Expr) -> Iterator[Expr]:
    """Every node below `root`, operands first, each once. Iterative: depth is not limited."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args) if id(a) not in seen)


def rebuild(root: Expr, leaf: Callable[[Expr], Expr]) -> Expr:
    """`root` with every leaf replaced by `leaf(it)`."""
    done: dict[int, Expr] = {}
    for node in topological(root):
        if node.op in LEAVES:
            done[id(node)] = leaf(node)
        else:
            done[id(node)] = Expr(node.op, tuple(done[id(a)] for a in node.args))
    return done[id(root)]


def substitute(root: Expr, x: Expr) -> Expr:
    """`root` with its variable replaced by `x` (function composition)."""
    return rebuild(root, lambda leaf: x if leaf.op is Op.VARIABLE else leaf)


def constants_of(root: Expr) -> tuple[Expr, ...]:
    """The distinct numbers in `root`."""
    return tuple(n for n in topological(root) if n.op is Op.CONSTANT)


def arrays_of(root: Expr) -> tuple[ArraySource, ...]:
    """The distinct per-channel or per-element constants in `root`."""
    found = (n.payload for n in topological(root) if n.op is Op.ARRAY)
    return tuple(p for p in found if isinstance(p, ArraySource))


def constant_value(node: Expr) -> float | None:
    """The number that `node` is, or None when it is not a number."""
    if node.op is Op.CONSTANT:
        assert isinstance(node.payload, tuple)
        return node.payload[0]
    return None
