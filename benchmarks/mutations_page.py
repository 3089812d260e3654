"""The page of the mutation benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutations_judges import ABSENT, DIFFERS, OURS, PEERS, SAME, SILENT
from mutations_trial import HALF, is_fault
from mutations_truth import SHOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mutations_trial import Mutant

_JUDGES = (OURS, *PEERS)


def page(mutants: Sequence[Mutant], facts: Mapping[str, object], seconds: float) -> str:
    """Tables by kind, in Markdown."""
    faults = [m for m in mutants if is_fault(m, SHOWS)]
    near = [m for m in mutants if m.is_wrong and 1.0 < m.beyond <= SHOWS]
    hidden = [m for m in mutants if m.is_wrong and m.beyond <= 1.0]
    right = [m for m in mutants if not m.is_wrong]
    models = {m.model.removesuffix(HALF) for m in mutants}
    lines = [
        f"{len(mutants)} changes to {len(models)} models, {seconds:.0f} s. "
        + ", ".join(f"{k} {v}" for k, v in facts.items()),
        "",
        "## Wrong changes: how many are caught",
        "",
        f"Those that show in an output more than {SHOWS:g} times beyond the noise floor.",
        "",
        *_table("wrong change", faults, DIFFERS),
        "",
        "The same by dtype, and what lies nearer to the noise floor (not demanded of anyone):",
        "",
        _row(["", "count", *_JUDGES]),
        _row(["---"] * (2 + len(_JUDGES))),
        _counted("in float32", [m for m in faults if not m.model.endswith(HALF)], DIFFERS),
        _counted("in float16", [m for m in faults if m.model.endswith(HALF)], DIFFERS),
        _counted(f"1 to {SHOWS:g} times", near, DIFFERS),
        _counted("within the noise floor", hidden, DIFFERS),
        "",
        "## Right changes: how many pass",
        "",
        *_table("right change", right, SAME),
        "",
    ]
    return "\n".join(lines)


def _table(title: str, mutants: Sequence[Mutant], good: str) -> list[str]:
    kinds = sorted({m.kind for m in mutants})
    lines = [_row([title, "count", *_JUDGES]), _row(["---"] * (2 + len(_JUDGES)))]
    lines += [_counted(kind, [m for m in mutants if m.kind == kind], good) for kind in kinds]
    return [*lines, _counted("**all**", mutants, good)]


def _counted(name: str, mutants: Sequence[Mutant], good: str) -> str:
    return _row([name, str(len(mutants)), *(_judged(j, mutants, good) for j in _JUDGES)])


def _judged(judge: str, mutants: Iterable[Mutant], good: str) -> str:
    answers = [m.answers[judge] for m in mutants]
    if answers and all(a == ABSENT for a in answers):
        return ABSENT
    silent = answers.count(SILENT)
    spoken = len(answers) - silent
    told = f"{answers.count(good)} of {spoken}"
    return f"{told} ({silent} {SILENT})" if silent else told


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
