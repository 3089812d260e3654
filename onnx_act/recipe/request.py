"""What one conversion is asked to do; every field is the command-line option of the same name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError
from onnx_act.recipe.bounds import Bounds
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.target import require_provider, resolve_provider

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from onnx_act.recipe.regressions import EarlierModel
    from onnx_act.recipe.swap_steps import SwapStep
    from onnx_act.recipe.tuning import TuneOptions

_CPU: Final = ("CPUExecutionProvider",)


@dataclass(frozen=True)
class ConversionRequest:
    """One conversion.

    Attributes:
        swap: what to exchange, and where; the first that covers a site is taken.
        fuse: how far to fold and fuse.
        tune: how to look for faster ways to write what is left, None not to.
        undo: whether to take fused operators apart, and do nothing else.
        max_growth: how many times as large copies of shared weights may make the file, at least 1.
        opset: the opset to raise the model to, None to leave it.
        providers: what the result must run on, as full names, at least one.
        feeds: what models are run on.
        threads: threads within an operator, 0 for the runtime's default.
        validate: whether to run both models and judge.
        bench: whether to measure latency.
        bench_seconds: how long measuring may take, per provider.
        dry_run: whether to stop before anything is written or run.
        force: whether to write even when the evidence does not hold.
        timeout_s: how long one piece of evidence may take before it is given up.
        strict_placement: whether a node that runs elsewhere than asked fails the conversion.
        bounds: what the evidence must keep.
        recipe: the file that some of this came from; None where there is none.
        save_recipe: whether to write, beside the output, a recipe that repeats the run.
        speedups: what measuring of fusions gave before, by a digest of what was measured.
        baseline: what an earlier report has of the model, which it must not be worse than.

    Raises:
        UsageError: its fields do not go together.
    """

    swap: tuple[SwapStep, ...] = ()
    fuse: FuseMode = FuseMode.NONE
    tune: TuneOptions | None = None
    undo: bool = False
    max_growth: float = 1.1
    opset: int | None = None
    providers: tuple[str, ...] = _CPU
    feeds: FeedRequest = field(default_factory=FeedRequest)
    threads: int = 0
    validate: bool = True
    bench: bool = True
    bench_seconds: float = 5.0
    dry_run: bool = False
    force: bool = False
    timeout_s: float = 1800.0
    strict_placement: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    recipe: Path | None = None
    save_recipe: bool = False
    speedups: Mapping[str, float] = field(default_factory=dict)
    baseline: EarlierModel | None = None

    def __post_init__(self) -> None:
        if self.undo and (self.swap or self.fuse is not FuseMode.NONE or self.tune is not None):
            raise UsageError(
                "undo takes fused operators apart: it goes with neither fuse, swap nor tune"
            )
        if not self.max_growth >= 1:
            raise UsageError(f"--max-growth is a factor of at least 1, not {self.max_growth:g}")


def require_providers(names: Iterable[str]) -> tuple[str, ...]:
    """The full names of providers that really run here, each once; the CPU when none is named.

    Raises:
        UnknownNameError: nobody knows a name.
        ProviderUnavailableError: one of them cannot run; the message says what to install.
    """
    return tuple(dict.fromkeys(require_provider(n) for n in names)) or _CPU


def name_providers(names: Iterable[str]) -> tuple[str, ...]:
    """As `require_providers`, for providers that are to run on another machine.

    Raises:
        UnknownNameError: nobody knows a name.
    """
    return tuple(dict.fromkeys(resolve_provider(n) for n in names)) or _CPU
