"""Printed readings of an expression: plain text and LaTeX."""

from __future__ import annotations

import math
from typing import Final

from onnx_act.activations.primitives import ArraySource, Expr, Op, remembered, topological

_ATOM: Final = 9
_PRECEDENCE: Final = {
    Op.GREATER: 0,
    Op.GREATER_EQUAL: 0,
    Op.ADD: 1,
    Op.SUB: 1,
    Op.MUL: 2,
    Op.DIV: 2,
    Op.NEG: 2,
    Op.POW: 4,
}
_TEXT_NAMES: Final = {
    Op.NORMAL_CDF: "Phi",
    Op.MAXIMUM: "max",
    Op.MINIMUM: "min",
}
_LATEX_NAMES: Final = {
    Op.EXP: r"\exp",
    Op.LOG: r"\log",
    Op.TANH: r"\tanh",
    Op.MAXIMUM: r"\max",
    Op.MINIMUM: r"\min",
    Op.SIN: r"\sin",
    Op.COS: r"\cos",
    Op.TAN: r"\tan",
    Op.ATAN: r"\arctan",
    Op.SIGMOID: r"\sigma",
    Op.NORMAL_CDF: r"\Phi",
}
_GREEK: Final = frozenset({"alpha", "beta", "gamma"})
# Numbers that have a name; the printer gives them back.
_NAMED: Final = (
    (math.sqrt(8.0 / math.pi), "sqrt(8/pi)", r"\sqrt{8/\pi}"),
    (math.sqrt(2.0 / math.pi), "sqrt(2/pi)", r"\sqrt{2/\pi}"),
    (2.0 / math.sqrt(math.pi), "2/sqrt(pi)", r"\tfrac{2}{\sqrt{\pi}}"),
    (1.0 / math.sqrt(2.0 * math.pi), "1/sqrt(2*pi)", r"\tfrac{1}{\sqrt{2\pi}}"),
    (math.sqrt(2.0), "sqrt(2)", r"\sqrt{2}"),
    (1.0 / math.sqrt(2.0), "1/sqrt(2)", r"\tfrac{1}{\sqrt{2}}"),
    (1.0 / 6.0, "1/6", r"\tfrac{1}{6}"),
)


@remembered
def text(root: Expr) -> str:
    """The expression as plain text, such as `x * tanh(softplus(x))`."""
    return _print(root, latex=False)


def latex(root: Expr) -> str:
    """The expression as LaTeX for math mode."""
    return _print(root, latex=True)


def number(value: float) -> str:
    """A number with as many digits as it needs, at most seven."""
    return "0" if value == 0 else f"{value:.7g}"


def _print(root: Expr, *, latex: bool) -> str:
    done: dict[int, tuple[str, int]] = {}
    for node in topological(root):
        args = [done[id(a)] for a in node.args]
        if node.op is Op.MINIMUM and node.args[0].op is Op.MAXIMUM:
            # Not min(max(x, low), high): a parameter may itself be called min.
            inner = sorted(node.args[0].args, key=lambda a: a.op is Op.CONSTANT)
            parts = ", ".join([*(done[id(a)][0] for a in inner), args[1][0]])
            clip = rf"\mathrm{{clip}}\left({parts}\right)" if latex else f"clip({parts})"
            done[id(node)] = clip, _ATOM
        else:
            done[id(node)] = _latex_node(node, args) if latex else _text_node(node, args)
    return done[id(root)][0]


def _named(value: float, *, latex: bool) -> tuple[str, int]:
    for known, plain, tex in _NAMED:
        if value == known:
            return (tex if latex else plain), (2 if plain[0].isdigit() else _ATOM)
    if math.isinf(value):
        infinity = r"\infty" if latex else "inf"
        return (infinity if value > 0 else f"-{infinity}"), (_ATOM if value > 0 else 2)
    return number(value), (_ATOM if value >= 0 else 2)


def _leaf(node: Expr, *, latex: bool) -> tuple[str, int] | None:
    match node.op, node.payload:
        case Op.VARIABLE, _:
            return "x", _ATOM
        case Op.CONSTANT, (float(value), _):
            return _named(value, latex=latex)
        case Op.ARRAY, ArraySource() as source:
            shape = "x".join(str(n) for n in source.shape)
            return (rf"c_{{{shape}}}" if latex else f"c[{shape}]"), _ATOM
        case Op.PARAMETER, str(name):
            if latex:
                return (f"\\{name}" if name in _GREEK else rf"\mathrm{{{_escape(name)}}}"), _ATOM
            return name, _ATOM
    return None


def _escape(name: str) -> str:
    return name.replace("_", r"\_")


def _wrap(arg: tuple[str, int], least: int, *, latex: bool) -> str:
    if arg[1] >= least:
        return arg[0]
    return rf"\left({arg[0]}\right)" if latex else f"({arg[0]})"


def _text_node(node: Expr, args: list[tuple[str, int]]) -> tuple[str, int]:
    leaf = _leaf(node, latex=False)
    if leaf is not None:
        return leaf
    level = _PRECEDENCE.get(node.op, _ATOM)
    left = _wrap(args[0], level, latex=False)
    right = _wrap(args[1], level, latex=False) if len(args) > 1 else ""
    tight = _wrap(args[1], level + 1, latex=False) if len(args) > 1 else ""
    match node.op:
        case Op.ADD:
            return f"{left} + {right}", level
        case Op.SUB:
            return f"{left} - {tight}", level
        case Op.MUL:
            return f"{left} * {right}", level
        case Op.DIV:
            return f"{left} / {tight}", level
        case Op.POW:
            return f"{_wrap(args[0], level + 1, latex=False)}^{tight}", level
        case Op.NEG:
            return f"-{_wrap(args[0], 3, latex=False)}", level
        case Op.GREATER:
            return f"{left} > {right}", level
        case Op.GREATER_EQUAL:
            return f"{left} >= {right}", level
        case Op.HARD_SIGMOID:
            inner = f"{_wrap(args[1], 2, latex=False)} * {_wrap(args[0], 2, latex=False)}"
            return f"clip({inner} + {args[2][0]}, 0, 1)", _ATOM
    name = _TEXT_NAMES.get(node.op, node.op.value)
    return f"{name}({', '.join(a[0] for a in args)})", _ATOM


def _latex_node(node: Expr, args: list[tuple[str, int]]) -> tuple[str, int]:
    leaf = _leaf(node, latex=True)
    if leaf is not None:
        return leaf
    level = _PRECEDENCE.get(node.op, _ATOM)
    left = _wrap(args[0], level, latex=True)
    right = _wrap(args[1], level, latex=True) if len(args) > 1 else ""
    tight = _wrap(args[1], level + 1, latex=True) if len(args) > 1 else ""
    match node.op:
        case Op.ADD:
            return f"{left} + {right}", level
        case Op.SUB:
            return f"{left} - {tight}", level
        case Op.MUL:
            # A minus directly after the thin space would read as a subtraction.
            factor = rf"\left({right}\right)" if right.startswith("-") else right
            return rf"{left} \, {factor}", level
        case Op.DIV:
            return rf"\frac{{{args[0][0]}}}{{{args[1][0]}}}", _ATOM
        case Op.POW:
            return f"{_wrap(args[0], level + 1, latex=True)}^{{{args[1][0]}}}", level
        case Op.NEG:
            return f"-{_wrap(args[0], 3, latex=True)}", level
        case Op.ABS:
            return rf"\left|{args[0][0]}\right|", _ATOM
        case Op.SQRT:
            return rf"\sqrt{{{args[0][0]}}}", _ATOM
        case Op.EXPM1:
            return rf"e^{{{args[0][0]}}} - 1", 1
        case Op.GREATER:
            return f"{left} > {right}", level
        case Op.GREATER_EQUAL:
            return rf"{left} \geq {right}", level
        case Op.WHERE:
            rows = rf"{args[1][0]} & {args[0][0]} \\ {args[2][0]} & \text{{otherwise}}"
            return rf"\begin{{cases}} {rows} \end{{cases}}", _ATOM
        case Op.HARD_SIGMOID:
            inner = rf"{_wrap(args[1], 2, latex=True)} \, {_wrap(args[0], 2, latex=True)}"
            return rf"\mathrm{{clip}}\left({inner} + {args[2][0]}, 0, 1\right)", _ATOM
    name = _LATEX_NAMES.get(node.op, rf"\mathrm{{{_escape(node.op.value)}}}")
    return rf"{name}\left({', '.join(a[0] for a in args)}\right)", _ATOM
