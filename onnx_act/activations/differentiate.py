"""The derivative of an expression as another expression, for printing.

At a kink it is the left-hand derivative, as in `readings.derivative`, which is the one to use for
numbers: what is short to read (1 - tanh(x)^2) may cancel in the tails.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import reduce
from typing import Final

from onnx_act.activations.primitives import (
    Expr,
    Op,
    apply,
    constant,
    constant_value,
    exp,
    greater,
    maximum,
    minimum,
    sigmoid,
    tanh,
    topological,
)

_ZERO: Final = constant(0.0)
_ONE: Final = constant(1.0)
_RISING: Final = frozenset(
    {Op.EXP, Op.EXPM1, Op.LOG, Op.TANH, Op.ERF, Op.SIGMOID, Op.SOFTPLUS, Op.NORMAL_CDF}
)


def differentiate(root: Expr) -> Expr:
    """The derivative of `root` with respect to x, lightly simplified; from the left at a kink.

    Parameters that are still open are taken to be positive where a kink depends on their sign.

    Raises:
        ValueError: `root` uses an operation that no declaration uses.
    """
    plain = _without_hard_sigmoid(root)
    slopes: dict[int, Expr] = {}
    for node in topological(plain):
        slopes[id(node)] = _slope(node, tuple(slopes[id(a)] for a in node.args))
    return slopes[id(plain)]


def _without_hard_sigmoid(root: Expr) -> Expr:
    def spelled(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op is not Op.HARD_SIGMOID:
            return node if args == node.args else Expr(node.op, args, node.payload)
        a, alpha, beta = args
        return minimum(maximum(alpha * a + beta, 0), 1)

    done: dict[int, Expr] = {}
    for node in topological(root):
        done[id(node)] = spelled(node, tuple(done[id(a)] for a in node.args))
    return done[id(root)]


def _slope(node: Expr, slopes: tuple[Expr, ...]) -> Expr:
    match node.op, node.args, slopes:
        case Op.VARIABLE, _, _:
            return _ONE
        case ((Op.CONSTANT | Op.PARAMETER | Op.ARRAY | Op.GREATER), _, _):
            return _ZERO
        case Op.ADD, _, (da, db):
            return _sum(da, db)
        case Op.SUB, _, (da, db):
            return _sum(da, _negated(db))
        case Op.MUL, (a, b), (da, db):
            return _sum(_product(da, b), _product(a, db))
        case Op.DIV, (a, b), (da, db):
            if db is _ZERO:
                return _quotient(da, b)
            top = _sum(_product(da, b), _negated(_product(a, db)))
            return _quotient(top, _product(b, b))
        case Op.WHERE, (c, _, _), (_, da, db):
            return _where(c, da, db)
        case Op.MAXIMUM, (a, b), (da, db):
            return _larger_slope(a, b, da, db)
        case Op.MINIMUM, (a, b), (da, db):
            return _smaller_slope(a, b, da, db)
        case _, (a,), (da,):
            return _product(_unary_slope(node, a), da)
    message = f"no derivative is known for {node.op.value}"
    raise ValueError(message)


def _unary_slope(node: Expr, a: Expr) -> Expr:
    match node.op:
        case Op.NEG:
            return constant(-1.0)
        case Op.ABS:
            if _direction(a) == -1:
                return _where(greater(_negated(a), 0), constant(-1.0), _ONE)
            return _where(greater(a, 0), _ONE, constant(-1.0))
        case Op.EXP:
            return node
        case Op.EXPM1:
            return exp(a)
        case Op.LOG:
            return _quotient(_ONE, a)
        case Op.TANH:
            return 1 - tanh(a) ** 2
        case Op.ERF:
            return constant(2.0 / math.sqrt(math.pi)) * exp(-(a**2))
        case Op.SIGMOID:
            return _product(node, 1 - node)
        case Op.SOFTPLUS:
            return sigmoid(a)
        case Op.NORMAL_CDF:
            return constant(1.0 / math.sqrt(2.0 * math.pi)) * exp(-(a**2) / 2)
    message = f"no derivative is known for {node.op.value}"
    raise ValueError(message)


def _larger_slope(a: Expr, b: Expr, da: Expr, db: Expr) -> Expr:
    """The slope of max(a, b): of the two at a tie, the smaller."""
    if da is _ZERO and db is not _ZERO:
        return _larger_slope(b, a, db, da)
    if db is _ZERO and (direction := _direction(a)) is not None:
        falls = direction == -1
        return _where(greater(b, a), _ZERO, da) if falls else _where(greater(a, b), da, _ZERO)
    return _where(greater(a, b), da, _where(greater(b, a), db, minimum(da, db)))


def _smaller_slope(a: Expr, b: Expr, da: Expr, db: Expr) -> Expr:
    """The slope of min(a, b): of the two at a tie, the larger."""
    if da is _ZERO and db is not _ZERO:
        return _smaller_slope(b, a, db, da)
    if db is _ZERO and (direction := _direction(a)) is not None:
        if direction == -1:
            return _where(greater(b, a), da, _ZERO)
        # Of max(u, low) > b only u > b matters: where low > b both slopes are 0.
        is_bounded = a.op is Op.MAXIMUM and _direction(a.args[1]) == 0
        return _where(greater(a.args[0] if is_bounded else a, b), _ZERO, da)
    return _where(greater(b, a), da, _where(greater(a, b), db, maximum(da, db)))


def _direction(node: Expr) -> int | None:
    """1 when `node` never falls with x, -1 when it never rises, 0 without x, None if unknown."""
    done: dict[int, int | None] = {}
    for part in topological(node):
        done[id(part)] = _direction_of(part, [done[id(a)] for a in part.args])
    return done[id(node)]


def _direction_of(node: Expr, args: list[int | None]) -> int | None:
    if node.op is Op.VARIABLE:
        return 1
    if all(a == 0 for a in args):
        return 0
    if None in args:
        return None
    directions = [a for a in args if a is not None]
    match node.op:
        case Op.NEG:
            return -directions[0]
        case Op.SUB:
            return _together(directions[0], -directions[1])
        case Op.ADD | Op.MAXIMUM | Op.MINIMUM:
            return _together(*directions)
        case Op.MUL if 0 in directions:
            factor = node.args[directions.index(0)]
            return None if (s := _sign(factor)) is None else s * (directions[0] or directions[1])
        case Op.DIV if directions[1] == 0:
            return None if (s := _sign(node.args[1])) is None else s * directions[0]
        case op if op in _RISING:
            return directions[0]
    return None


def _together(a: int, b: int) -> int | None:
    return a or b if a == b or 0 in (a, b) else None


def _sign(node: Expr) -> int | None:
    value = constant_value(node)
    if value is not None:
        return (value > 0) - (value < 0)
    return 1 if node.op is Op.PARAMETER else None


def _negated(a: Expr) -> Expr:
    return _product(constant(-1.0), a)


def _terms(node: Expr, sign: float = 1.0) -> list[tuple[float, Expr]]:
    """`node` as a sum of coefficient * term."""
    match node.op, node.args:
        case Op.ADD, (a, b):
            return _terms(a, sign) + _terms(b, sign)
        case Op.SUB, (a, b):
            return _terms(a, sign) + _terms(b, -sign)
        case Op.NEG, (a,):
            return _terms(a, -sign)
        case Op.CONSTANT, _:
            return [(sign * (constant_value(node) or 0.0), _ONE)]
        case Op.MUL, (a, b) if (value := constant_value(a)) is not None:
            return [(sign * value, b)]
    return [(sign, node)]


def _sum(*parts: Expr) -> Expr:
    """The sum, with like terms collected and cases of one condition merged."""
    coefficients: Counter[Expr] = Counter()
    for part in parts:
        for factor, term in _terms(part):
            coefficients[term] += factor  # type: ignore[assignment]
    terms = {t: c for t, c in coefficients.items() if c != 0}
    cases = [t for t in terms if t.op is Op.WHERE]
    others = [t for t in terms if t.op is not Op.WHERE]
    if cases and len({t.args[0] for t in cases}) == 1 and all(t is _ONE for t in others):
        offset = constant(terms[_ONE]) if others else _ZERO
        yes = _sum(offset, *(_product(constant(terms[t]), t.args[1]) for t in cases))
        no = _sum(offset, *(_product(constant(terms[t]), t.args[2]) for t in cases))
        return _where(cases[0].args[0], yes, no)
    total: Expr | None = None
    # A sum reads better when it does not begin with a minus.
    for term, factor in sorted(terms.items(), key=lambda item: item[1] < 0):
        size = constant(abs(factor)) if term is _ONE else _product(constant(abs(factor)), term)
        if total is None:
            total = size if factor > 0 else _negated(size)
        else:
            total = total + size if factor > 0 else total - size
    return _ZERO if total is None else total


def _factors(node: Expr) -> tuple[float, list[Expr], list[Expr]]:
    """`node` as number * product of the first list / product of the second."""
    match node.op, node.args:
        case Op.CONSTANT, _:
            return constant_value(node) or 0.0, [], []
        case Op.NEG, (a,):
            number, top, bottom = _factors(a)
            return -number, top, bottom
        case Op.MUL, (a, b):
            (m, over_a, under_a), (n, over_b, under_b) = _factors(a), _factors(b)
            return m * n, over_a + over_b, under_a + under_b
        case Op.DIV, (a, b) if constant_value(b) != 0:
            (m, over_a, under_a), (n, over_b, under_b) = _factors(a), _factors(b)
            return m / n, over_a + under_b, under_a + over_b
        case Op.POW, (a, b) if constant_value(b) == 2:
            return 1.0, [a, a], []
    return 1.0, [node], []


def _product(*parts: Expr) -> Expr:
    return _fraction(reduce(lambda a, b: a * b, parts))


def _quotient(a: Expr, b: Expr) -> Expr:
    return _fraction(a / b)


def _fraction(node: Expr) -> Expr:
    """A product or quotient with equal factors collected and cases brought to the outside."""
    number, over, under = _factors(node)
    top, bottom = Counter(over) - Counter(under), Counter(under) - Counter(over)
    case = next((f for f in top if f.op is Op.WHERE and top[f] == 1 and _has_a_number(f)), None)
    if number == 0:
        return _ZERO
    if case is not None:
        rest = _assembled(number, top - Counter([case]), bottom)
        condition, yes, no = case.args
        return _where(condition, _product(rest, yes), _product(rest, no))
    return _assembled(number, top, bottom)


def _has_a_number(case: Expr) -> bool:
    return any(constant_value(branch) is not None for branch in case.args[1:])


def _assembled(number: float, top: Counter[Expr], bottom: Counter[Expr]) -> Expr:
    def powers(factors: Counter[Expr]) -> list[Expr]:
        return [f if n == 1 else f ** float(n) for f, n in factors.items()]

    over = reduce(lambda a, b: a * b, powers(top)) if top else None
    size = constant(abs(number))
    if over is None:
        over = size
    elif abs(number) != 1:
        over = size * over
    whole = over / reduce(lambda a, b: a * b, powers(bottom)) if bottom else over
    if number > 0:
        return whole
    return constant(-abs(number)) if not top and not bottom else -whole


def _where(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """The two cases, each simplified by what its side of the condition says."""
    yes, no = _given(condition, yes, holds=True), _given(condition, no, holds=False)
    if yes is no:
        return yes
    if condition.op is Op.GREATER:
        a, b = condition.args
        if constant_value(b) == 0 and yes is a and no is _negated(a):
            return abs(a)
    return apply(Op.WHERE, condition, yes, no)


def _given(condition: Expr, node: Expr, *, holds: bool) -> Expr:
    """`node` where the condition is known to hold, or not to."""
    if condition.op is not Op.GREATER:
        return node
    a, b = condition.args
    larger, smaller = (a, b) if holds else (b, a)
    done: dict[int, Expr] = {}
    for part in topological(node):
        args = tuple(done[id(c)] for c in part.args)
        new = Expr(part.op, args, part.payload) if args != part.args else part
        if part.op in (Op.MAXIMUM, Op.MINIMUM) and set(args) == {a, b}:
            new = larger if part.op is Op.MAXIMUM else smaller
        elif part.op is Op.ABS and args == (a,) and constant_value(b) == 0:
            new = a if holds else _negated(a)
        elif part.op is Op.WHERE and args[0] is condition:
            new = args[1] if holds else args[2]
        done[id(part)] = new
    return done[id(node)]
