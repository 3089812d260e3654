"""What is particular to judging on CUDA: once without TF32, once as it runs in production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.target import short_name, uses_cuda

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.evidence.verdict import Equivalence

# The provider's own option can be passed over: where cuDNN has no plan without TF32, ONNX Runtime
# takes one with it and says nothing. NVIDIA's libraries read this when they are loaded.
_TF32_OFF: Final = {"NVIDIA_TF32_OVERRIDE": "0"}
_TF32: Final = "tfloat32"


def judging_environment(providers: Sequence[str]) -> Mapping[str, str]:
    """Environment variables for a process in which equivalence on these providers is judged."""
    return _TF32_OFF if any(uses_cuda(provider) for provider in providers) else {}


def judge_production(
    *models: Any, providers: Sequence[str], **options: Any
) -> tuple[Equivalence | None, tuple[str, ...]]:
    """Judge again, with TF32 as the provider has it by default, what was judged without.

    Args:
        *models: as of `judge_equivalence`.
        providers: those that do not run on CUDA are left out.
        **options: as of `judge_equivalence`, and `timeout_s`.

    Returns:
        The verdict, which allows for TF32's rounding to 11 bits, and notes on it. None where no
        provider runs on CUDA, or a model does not run there.
    """
    on_cuda = tuple(provider for provider in providers if uses_cuda(provider))
    if not on_cuda:
        return None, ()
    options["coarsest_dtype"] = options.get("coarsest_dtype") or _TF32
    if options["coarsest_dtype"] in {"float32", "float64"}:
        options["coarsest_dtype"] = _TF32
    try:
        found = run_isolated(
            judge_equivalence, *models, providers=on_cuda, production=True, **options
        )
    except EvidenceError as error:
        return None, (f"with TF32, as in production, it could not be judged: {error}",)
    if found.passed:
        return found, ()
    failed = ", ".join(short_name(p.provider) for p in found.providers if not p.passed)
    note = (
        f"with TF32, as in production, the two are further apart on {failed} than its rounding "
        f"explains: {found.reason}; the verdict is that without TF32"
    )
    return found, (note,)
