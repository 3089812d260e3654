"""Fuse an activation into the Conv or Gemm that feeds it, as a contrib operator.

Not valid where something else uses the unfused result, or where a target has no kernel that takes
this activation, with these parameters, in this dtype (each is asked, see `fused_operators`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.regions import FLOATS
from onnx_act.graph.sites import Spelling
from onnx_act.graph.types import declare_type, dtype_of
from onnx_act.rewrite.fused_operators import fused_attributes, fused_probe
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.writing import provenance_of, reason_in_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Capabilities, Proposal, Subject

_DECLARED: Final = "onnx_act.calls_are_declared"
_WRITTEN_IN_PLACE: Final = frozenset({Spelling.OPERATOR, Spelling.CONTRIB, Spelling.EXPRESSION})


@dataclass(frozen=True)
class FuseActivation:
    """Make `producer` followed by an activation one `fused` node.

    Attributes:
        producer: the standard operator, Conv or Gemm.
        fused: the contrib operator that computes it and the activation.
        name: how reports call the rule.
    """

    producer: str
    fused: str
    name: str = field(default="")
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation that directly follows the producer."""
        known: dict[bytes, str | None] = {}
        for site, before in sites_after("", (self.producer,), subject):
            yield self._propose(site, before, subject, known)

    def _propose(
        self, site: Site, before: ir.Node, subject: Subject, known: dict[bytes, str | None]
    ) -> Proposal:
        if site.activation is None:
            return Refusal(self.name, site.id, site.name, "it is no activation we know by name")
        reason = _reason_against(site, before)
        attributes = fused_attributes(self.fused, site.activation, site.parameters)
        if attributes is None:
            shown = describe_activation(site.activation, site.parameters)
            reason = reason or f"{self.fused} has no name for {shown}"
        if reason is not None or attributes is None:
            return Refusal(self.name, site.id, site.name, reason or "")
        probe = fused_probe(before, attributes, site, subject.model.content.ir_version)
        if probe is None:
            return Refusal(self.name, site.id, site.name, "the rank of its weight is not known")
        if probe not in known:
            known[probe] = reason_on(subject.targets, probe)
        if (against := known[probe]) is not None:
            return Refusal(self.name, site.id, site.name, f"{self.fused}: {against}")
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site.id,
            before=f"{self.producer}, {site.written}",
            after=f"{self.fused}[{attributes[0].as_string()}]",
            nodes=tuple(n.name or n.op_type for n in (before, *site.nodes)),
            apply=self._edit(site, before, attributes),
            region=(before, *site.nodes),
        )

    def _edit(
        self, site: Site, before: ir.Node, attributes: list[ir.Attr]
    ) -> Callable[[Editor], None]:
        def apply(editor: Editor) -> None:
            old = site.nodes[-1].outputs[0]
            name = editor.fresh_name(f"{before.name or old.name}/{self.fused}")
            attrs = [*before.attributes.values(), *attributes]
            fused = ir.Node(
                MICROSOFT,
                self.fused,
                list(before.inputs),
                attrs,
                outputs=[ir.Value(name=name)],
                name=name,
            )
            put_in_place([fused], (before, *site.nodes), self.name, site, editor)

        return apply


def sites_after(
    domain: str, operators: Collection[str], subject: Subject
) -> Iterator[tuple[Site, ir.Node]]:
    """Every activation that has nodes of its own and directly follows one of these operators."""
    for site in subject.sites:
        if site.spelling not in _WRITTEN_IN_PLACE or site.input is None or site.routine:
            continue
        before = site.input.producer()
        if before is not None and before.domain == domain and before.op_type in operators:
            yield site, before


def reason_to_keep(before: ir.Node, after: Sequence[ir.Node]) -> str | None:
    """Why what `before` makes first is needed by others than `after`; None when it is not."""
    value = before.outputs[0]
    if value.is_graph_output():
        return f"what {before.op_type} makes is an output of the graph as well"
    if any(use.node not in after for use in value.uses()):
        return f"something else uses what {before.op_type} makes"
    if before.graph is not after[-1].graph:
        return f"{before.op_type} is in an outer graph"
    return None


def reason_not_plain(product: ir.Node) -> str | None:
    """Why a Conv, Gemm or MatMul is more than its formula."""
    source = None if product.inputs[0] is None else product.inputs[0].producer()
    if source is not None and source.op_type == "DequantizeLinear":
        # A runtime makes one integer operator of DequantizeLinear, Conv, Relu, QuantizeLinear, and
        # knows no fused operator there (seen in ONNX Runtime 1.31).
        return f"its {product.op_type} is quantised, and a fused operator would run in float"
    if "broadcast" in product.attributes:
        return f"{product.op_type} before opset 7 broadcasts as no fused operator does"
    return None


def reason_in_spelling(site: Site) -> str | None:
    """Why an activation cannot be one operator: the digits of its constants, or a dtype inside."""
    return reason_in_digits(site) or _reason_in_types(site)


def _reason_in_types(site: Site) -> str | None:
    dtype = site.dtype
    if dtype is None:
        return UNKNOWN_TYPE
    for node in site.nodes[:-1]:
        inner = dtype_of(node.outputs[0])
        if inner in FLOATS and inner != dtype and inner.itemsize <= dtype.itemsize:
            return f"part of it is computed in {inner.name.lower()}, between two Casts"
    return None


def reason_on(targets: Capabilities, probe: bytes) -> str | None:
    """Why some target cannot be given a contrib operator: it has no kernel, or a wrong one."""
    return targets.reason_against(probe) or targets.miscomputation(probe)


def put_in_place(
    nodes: Sequence[ir.Node],
    region: Sequence[ir.Node],
    rule: str,
    site: Site,
    editor: Editor,
) -> None:
    """Put contrib operators, and what they take, where a region that ends in a site was.

    Args:
        nodes: in order; the last one makes the result.
        region: in graph order; what all but its last node make is used within it only.
        rule: that does it.
        site: the activation at the region's end.
        editor: of the model.
    """
    assert site.activation is not None
    editor.import_domain(MICROSOFT, site.scope)
    provenance = provenance_of(rule, site, site.activation, site.parameters)
    provenance["nodes"] = ", ".join(n.name or n.op_type for n in region)
    editor.replace(region, region[-1].outputs[0], nodes, nodes[-1].outputs[0], provenance)
    declare_results(nodes, site, editor)


def declare_results(nodes: Iterable[ir.Node], site: Site, editor: Editor) -> None:
    """Write down the types that shape inference, which knows no contrib operators, will not find.

    In a function a type is known of one call only, and another may bring another shape: there it
    is the results of the calls that are written down.
    """
    function = site.scope.function
    found = nodes if function is None else _calls_through(function, editor.model)
    for node in found:
        for value in node.outputs:
            declare_type(value)


def _calls_through(function: ir.Function, model: OnnxModel) -> Iterator[ir.Node]:
    """Every call outside of functions that ends in this one, the first time that it is asked."""
    if function.meta.get(_DECLARED):
        return
    function.meta[_DECLARED] = True
    ends = {function.identifier()}
    functions = model.content.functions
    known = 0
    while known < len(ends):
        known = len(ends)
        ends.update(
            key
            for key, body in functions.items()
            if key not in ends and any(n.op_identifier() in ends for n in body.all_nodes())
        )
    for scope in model.scopes():
        if not scope.is_function_body():
            yield from (n for n in scope.graph if n.op_identifier() in ends)


def _reason_against(site: Site, before: ir.Node) -> str | None:
    return (
        reason_to_keep(before, site.nodes) or reason_not_plain(before) or reason_in_spelling(site)
    )


#: Conv and an activation as com.microsoft.FusedConv.
FUSE_CONV_ACTIVATION: Final = FuseActivation("Conv", "FusedConv", "fuse_conv_activation")
#: Gemm and an activation as com.microsoft.FusedGemm.
FUSE_GEMM_ACTIVATION: Final = FuseActivation("Gemm", "FusedGemm", "fuse_gemm_activation")
