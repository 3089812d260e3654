"""Whether two models compute the same, on every provider and at every optimisation level.

On each provider the candidate is judged against the reference on that same provider without
optimisation, so that an error is the change's and not the provider's; how far the provider is
from the CPU is measured beside it. What is allowed is derived in
`onnx_act.evidence.tolerance`, separately for every output and every feed: one tolerance over all
feeds would be that of the wildest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError
from onnx_act.evidence.baseline import equivalence_settings, measure_baseline, run_all
from onnx_act.evidence.trial import judge_candidate
from onnx_act.evidence.verdict import Equivalence
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, open_session, runtime_version
from onnx_act.runtime.target import short_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_act.evidence.overrides import GivenTolerances
    from onnx_act.runtime.datasets import Dataset
    from onnx_act.runtime.tensors import Array


def judge_equivalence(
    reference: Path,
    candidate: Path,
    *,
    providers: Sequence[str] = (CPU,),
    request: FeedRequest | None = None,
    threads: int = 0,
    depth: int = 1,
    coarsest_dtype: str | None = None,
    most_feeds: int = 16,
    production: bool = False,
    tolerances: GivenTolerances | None = None,
) -> Equivalence:
    """Run both models and judge whether they compute the same.

    Args:
        reference: The model that is right by definition.
        candidate: The model in question. Inputs and outputs are matched by name, else by
            position.
        providers: Full names of execution providers; each gets a verdict.
        request: What to run them on; seeded generated feeds when left out. The same feeds go to
            both models on every provider.
        threads: Threads within an operator; 0 is the runtime's default.
        depth: Operators on the longest path through the reference, as far as the caller knows.
        coarsest_dtype: The coarsest float type inside the model where that is coarser than the
            outputs' own (a float16 model with float32 outputs).
        most_feeds: The most feeds of a data set that are used.
        production: Leave TF32 on CUDA as the provider has it, instead of switching it off.
        tolerances: What the user allows, in the place of what is derived.

    Raises:
        EvidenceError: The reference does not run on a provider, or nothing can be fed to it.
        ProviderUnavailableError: A provider is not there.
        UsageError: Shapes or data do not fit the model, or it has no output of a name in
            `tolerances`.
    """
    request = request or FeedRequest()
    verdicts = []
    feeds: Dataset | None = None
    on_cpu: list[dict[str, Array]] | None = None
    cpu_note: list[str] = []
    if any(provider != CPU for provider in providers):
        feeds, on_cpu, cpu_note = _reference_on_cpu(reference, request, threads, most_feeds)
    for provider in providers:
        settings = equivalence_settings(provider, threads, production=production)
        baseline = measure_baseline(
            reference,
            settings,
            request if feeds is None else feeds,
            most=most_feeds,
            candidate=candidate,
        )
        feeds = baseline.feeds
        if provider != CPU:
            baseline.notes += cpu_note
            if on_cpu is not None:
                baseline.add_other_provider(on_cpu, CPU)
        verdicts.append(
            judge_candidate(
                baseline,
                candidate,
                settings,
                depth=depth,
                coarsest_dtype=coarsest_dtype,
                on_cpu=None if provider == CPU else on_cpu,
                tolerances=tolerances,
            )
        )
    failed = [verdict for verdict in verdicts if not verdict.passed]
    return Equivalence(
        passed=not failed,
        reason=f"on {short_name(failed[0].provider)}: {failed[0].reason}" if failed else "",
        providers=tuple(verdicts),
        feeds=feeds.origin if feeds else (),
        seed=request.seed,
        depth=depth,
        threads=threads,
        runtime_version=runtime_version(),
    )


def _reference_on_cpu(
    reference: Path, request: FeedRequest, threads: int, most: int
) -> tuple[Dataset | None, list[dict[str, Array]] | None, list[str]]:
    try:
        session = open_session(reference, equivalence_settings(CPU, threads))
        feeds = feeds_for(session, request).first(most)
        return feeds, run_all(session, feeds), []
    except EvidenceError as error:
        return None, None, [f"the reference does not run on the CPU to compare with: {error}"]
