"""The swaps of a conversion: steps with selectors of their own, planned on one model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.errors import NoSiteMatchedError
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.selectors import parse_selector
from onnx_act.rewrite.engine import Plan, apply_plan, plan_rule
from onnx_act.rewrite.swap_activation import SwapActivation, operators_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.selectors import Selector
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Capabilities
    from onnx_act.rewrite.swap_request import SwapRequest


@dataclass(frozen=True, slots=True)
class SwapStep:
    """Some swaps, and where they are made.

    Attributes:
        requests: what to exchange; the first that covers a site is taken.
        where: selectors of the sites, which must all hold; none for all on feature paths.
        optional: whether it is right that there is nothing to swap.

    Raises:
        SelectorError: a selector does not parse.
    """

    requests: tuple[SwapRequest, ...]
    where: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        self.selector()

    def selector(self) -> Selector | None:
        """Which sites it is about, None where nothing is said."""
        parsed = [parse_selector(text) for text in self.where]
        return (lambda site: all(holds(site) for holds in parsed)) if parsed else None


def run_swaps(
    steps: Sequence[SwapStep], model: OnnxModel, targets: Capabilities, sites: Sequence[Site]
) -> Plan:
    """Make the swaps of every step.

    All steps are about the model as it is now: what one writes is not swapped again by the next,
    and numbers and names of sites mean in every step what `inspect` shows. A site that several
    steps would swap is swapped by the first.

    Args:
        steps: in order.
        model: edited in place.
        targets: what it must run on.
        sites: all sites of the model, routine ones included.

    Raises:
        UsageError: a file has no array for a site.
    """
    done = Plan()
    for step in steps:
        taken = {change.site for change in done.changes}
        left = [site for site in sites if site.id not in taken]
        found = plan_rule(SwapActivation(step.requests, step.selector()), model, targets, left)
        swapped = {change.site for change in found.changes}
        still = tuple(refusal for refusal in done.refusals if refusal.site not in swapped)
        done = Plan(done.changes + found.changes, still + found.refusals)
    apply_plan(done, model)
    return done


def check_covered(steps: Sequence[SwapStep], sites: Sequence[Site]) -> None:
    """Each swap of a step that is not optional must be about something that is there.

    Raises:
        NoSiteMatchedError: one of them is not; the message lists what is.
    """
    for step in steps:
        if step.optional:
            continue
        where = step.selector()
        for swap in step.requests:
            covered = [s for s in sites if swap.covers(s)]
            if covered and where is not None and not any(where(s) for s in covered):
                raise NoSiteMatchedError(
                    f"--where selects none of the {len(covered)} {swap.source.name} sites; "
                    f"see onnx-act inspect --sites"
                )
            if not covered:
                raise NoSiteMatchedError(_what_is_there(swap, sites))


def _what_is_there(swap: SwapRequest, sites: Sequence[Site]) -> str:
    counts: dict[str, int] = {}
    for site in sites:
        if site.routine:
            continue
        name = describe_activation(site.activation, site.parameters)
        counts[name] = counts.get(name, 0) + 1
    there = ", ".join(f"{n} {name}" for name, n in counts.items()) or "no activation at all"
    within = Counter(s.name for s in sites if swap.source in operators_within(s))
    parts = "".join(f"; {n} are part of {name}" for name, n in within.items())
    return f"no {swap.source.name} in the model; it has {there}{parts}"
