"""Where two models part: the first value that leaves the noise floor although all before it do not.

Values of both models that answer to each other are returned by copies of the models, both without
optimisation, and compared on the same feeds. What may differ is derived for each value as it is
for outputs, see `onnx_act.evidence.tolerance`: the noise floor is that of the value itself, from
the reference with its inputs moved by a rounding error and from the reference optimised.

A value that differs need not be the fault: where one model scales what the next operator scales
back, values differ and come together again. So what counts is a value from which values that
differ lead all the way to an output.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.errors import EvidenceError
from onnx_act.evidence.aligning import Alignment, Method, align, interface
from onnx_act.evidence.location import Location, NodeRecord, PartingValue, ValueRange
from onnx_act.evidence.looking import CHUNK_BYTES
from onnx_act.evidence.side_by_side import Compared, Comparison, Wanted
from onnx_act.evidence.values_before import ValuesBefore
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import MAIN, load_model
from onnx_act.graph.taps import Outline, Step, outline
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.sites import Site

#: How long looking may take, in seconds; what was not looked at by then is counted.
BUDGET_S: Final = 300.0
_MOST_NODES: Final = 12
_NOTHING: Final = (
    "nothing parts: without optimisation all values that the two models have in common agree"
)
_TOGETHER_AGAIN: Final = (
    "nothing parts: without optimisation the outputs of the two models agree; the {} values inside "
    "that differ come together again"
)
_MOST_OTHERS: Final = 8


def locate_parting(
    reference: Path,
    candidate: Path,
    *,
    provider: str = CPU,
    request: FeedRequest | None = None,
    threads: int = 0,
    most_feeds: int = 16,
    budget_s: float = BUDGET_S,
    chunk_bytes: int = CHUNK_BYTES,
) -> Location:
    """Find the first value at which two models part.

    Args:
        reference: the model that is right by definition.
        candidate: the model in question.
        provider: the full name of the execution provider to look on.
        request: what to run on; seeded generated feeds when left out.
        threads: threads within an operator; 0 is the runtime's default.
        most_feeds: the most feeds of a data set that are used.
        budget_s: how long it may take, in seconds; at least one chunk of values is compared.
        chunk_bytes: how many bytes of values one run of one model may return.

    Raises:
        EvidenceError: a model does not run.
        ModelError: a model cannot be read.
        UsageError: shapes or data do not fit the model.
    """
    models = load_model(reference), load_model(candidate)
    outlines = outline(models[0]), outline(models[1])
    alignment = align(*outlines)
    sites = find_sites(models[0], routine=True), find_sites(models[1], routine=True)
    if not alignment.values:
        return Location(
            parts=False,
            message="no value of the one model was found again in the other, not even an output: "
            "nothing aligns, and where they part cannot be said",
            unaligned=len(alignment.unaligned),
            out_of_sight=dict(outlines[0].out_of_sight),
        )
    finding = _Finding(outlines, alignment, (_by_output(sites[0]), _by_output(sites[1])))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onnx-act-")))
        comparison = Comparison(
            models=models,
            inputs=interface(outlines[0].inputs, outlines[1].inputs),
            provider=provider,
            threads=threads,
            request=request or FeedRequest(),
            most_feeds=most_feeds,
            folder=folder,
        )
        ends = time.monotonic() + budget_s
        for chunk in comparison.chunks(_wanted(finding, sites[0]), chunk_bytes):
            if finding.compared and time.monotonic() > ends:
                break
            finding.compared.update(comparison.compare(chunk))
    return finding.location(comparison.feed_kinds, comparison.notes)


def _by_output(sites: Sequence[Site]) -> dict[str, Site]:
    return {str(s.output.name): s for s in sites if s.scope.name == MAIN and s.input is not None}


def _wanted(finding: _Finding, sites: Sequence[Site]) -> list[Wanted]:
    """What to compare: inputs and outputs of sites first, each part in the reference's order."""
    edges = {s.output.name for s in sites if s.scope.name == MAIN}
    edges |= {s.input.name for s in sites if s.scope.name == MAIN and s.input is not None}
    wanted = [
        Wanted(v.reference, v.candidate, finding.before.depth(v.reference))
        for v in finding.alignment.values
    ]
    return sorted(wanted, key=lambda w: w.reference not in edges)


class _Finding:
    """What was compared, and what follows from it."""

    def __init__(
        self,
        outlines: tuple[Outline, Outline],
        alignment: Alignment,
        sites: tuple[dict[str, Site], dict[str, Site]],
    ) -> None:
        self.alignment = alignment
        self.compared: dict[str, Compared] = {}
        self.before = ValuesBefore(outlines[0])
        self._candidate_before = ValuesBefore(outlines[1])
        self._outlines = outlines
        self._sites = sites
        self._pairs = {v.reference: v for v in alignment.values}

    def location(self, feeds: tuple[str, ...], notes: Sequence[str]) -> Location:
        """The finding."""
        order = [v.reference for v in self.alignment.values if v.reference in self.compared]
        if not order:
            raise EvidenceError("no value that the two models have in common is a tensor")
        above = self.before.nearest(self.compared)
        parting = [v for v in order if self.compared[v].severity > 1.0]
        live = self._live(order, above, set(parting))
        first = next(iter(live), None)
        methods = [self._pairs[v].method for v in order]
        found = Location(
            parts=first is not None,
            message=_NOTHING if not parting else _TOGETHER_AGAIN.format(len(parting)),
            compared=len(order),
            differing=len(parting),
            by_name=methods.count(Method.NAME),
            by_structure=methods.count(Method.STRUCTURE),
            unaligned=len(self.alignment.unaligned),
            left_out=len(self.alignment.values) - len(order),
            out_of_sight=dict(self._outlines[0].out_of_sight),
            feeds=feeds,
            notes=(*notes, *self._notes(len(order))),
        )
        if first is None:
            return found
        return self._with_first(found, first, live, above)

    def _with_first(
        self, found: Location, first: str, live: Sequence[str], above: dict[str, tuple[str, ...]]
    ) -> Location:
        parting = self._parting(first, above)
        known = set(live)
        others = [v for v in live if v != first and not _ancestors(v, above) & known]
        return replace(
            found,
            message=_sentence(parting),
            first=parting,
            differs_since=self._differs_since(first, above),
            others=tuple(others[:_MOST_OTHERS]),
        )

    def _live(
        self, order: Sequence[str], above: dict[str, tuple[str, ...]], parting: set[str]
    ) -> list[str]:
        """Values that part and from which values that part lead to an output, in order."""
        outputs = set(self._outlines[0].outputs)
        live: set[str] = set()
        below: dict[str, list[str]] = {}
        for value in order:
            for one in above[value]:
                below.setdefault(one, []).append(value)
        for value in reversed(order):
            leads = value in outputs or any(v in live for v in below.get(value, ()))
            if value in parting and leads:
                live.add(value)
        return [v for v in order if v in live]

    def _differs_since(self, first: str, above: dict[str, tuple[str, ...]]) -> str:
        """The first value before `first` that is not the same to the last bit."""
        ancestors = _ancestors(first, above)
        order = [v.reference for v in self.alignment.values if v.reference in ancestors]
        return next((v for v in order if not self.compared[v].is_identical), "")

    def _parting(self, value: str, above: dict[str, tuple[str, ...]]) -> PartingValue:
        pair = self._pairs[value]
        compared = self.compared[value]
        known = {v.candidate for v in self.alignment.values if v.reference in self.compared}
        theirs = self._candidate_before.steps_to(pair.candidate, known - {pair.candidate})
        own = self.before.steps_to(value, set(self.compared) - {value})
        site, other = self._sites[0].get(value), self._sites[1].get(pair.candidate)
        rules = [s.provenance["rule"] for s in reversed(theirs) if "rule" in s.provenance]
        return PartingValue(
            value=value,
            candidate_value=pair.candidate,
            aligned_by=pair.method,
            activation=_described(site),
            candidate_activation=_described(other),
            inside=self._inside(value),
            nodes=_records(own),
            candidate_nodes=_records(theirs),
            rule=rules[0] if rules else "",
            inputs=self._ranges(site, above[value]),
            severity=compared.severity,
            criterion=compared.criterion,
            max_abs=compared.max_abs,
            noise_floor=compared.noise,
            at_feed=compared.at_feed,
            at_index=compared.at_index,
            reference=compared.at_reference,
            candidate=compared.at_candidate,
        )

    def _ranges(self, site: Site | None, above: Sequence[str]) -> tuple[ValueRange, ...]:
        names = list(above)
        if site is not None and site.input is not None and site.input.name in self.compared:
            names = [str(site.input.name)]
        return tuple(
            ValueRange(n, self.compared[n].low, self.compared[n].high)
            for n in names
            if n in self.compared
        )

    def _inside(self, value: str) -> str:
        """The activation of whose expression a value is an inner part."""
        for name, site in self._sites[0].items():
            inner = {v.name for n in site.nodes[:-1] for v in n.outputs}
            if value in inner:
                return f"{_described(site)} that ends in {name}"
        return ""

    def _notes(self, compared: int) -> list[str]:
        notes = []
        if not self.alignment.trusts_names:
            notes.append("values of the same name are not the same value in the two models")
        left = len(self.alignment.values) - compared
        if left:
            notes.append(
                f"{left} values were not compared: the time was up, or they are no tensors"
            )
        hidden = sum(self._outlines[0].out_of_sight.values())
        if hidden:
            scopes = len(self._outlines[0].out_of_sight)
            notes.append(
                f"{hidden} values inside {scopes} subgraphs and functions cannot be looked at; "
                f"what parts there shows at the node that holds them"
            )
        return notes


def _ancestors(value: str, above: dict[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    pending = list(above[value])
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(above.get(name, ()))
    return found


def _described(site: Site | None) -> str:
    return "" if site is None else describe_activation(site.activation, site.parameters)


def _records(steps: Sequence[Step]) -> tuple[NodeRecord, ...]:
    return tuple(
        NodeRecord(
            s.name, f"{s.domain}::{s.op_type}" if s.domain else s.op_type, dict(s.provenance)
        )
        for s in steps[-_MOST_NODES:]
    )


def _sentence(parting: PartingValue) -> str:
    """The finding in one sentence."""
    made = parting.nodes[-1] if parting.nodes else None
    what = parting.activation or (made.op_type if made else "value")
    where = f", inside {parting.inside}" if parting.inside else ""
    return f"the models part at {parting.value!r}, the result of {what}{where}"
