"""Fuse a SiLU into the contrib GroupNorm or SkipGroupNorm that feeds it.

Not valid where something else uses the normalised result, where the operator applies an activation
already, or where a target has no kernel for it (the CPU of ONNX Runtime 1.31 has none).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.types import declare_like, dtype_of, shape_of
from onnx_act.rewrite.fuse_activation import (
    declare_results,
    reason_on,
    reason_to_keep,
    sites_after,
)
from onnx_act.rewrite.fused_probes import normalization_probe
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.writing import provenance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "fuse_group_normalization"
_NONE: Final = 0
_SILU: Final = 1


@dataclass(frozen=True)
class FuseGroupNormalization:
    """Have the normalisation apply the SiLU, by its attribute."""

    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every SiLU of a group-normalised value."""
        known: dict[bytes, str | None] = {}
        for site, before in sites_after(MICROSOFT, ("GroupNorm", "SkipGroupNorm"), subject):
            # The second result of SkipGroupNorm is what it normalises.
            if site.name == "silu" and site.input is before.outputs[0]:
                yield _propose(site, before, subject, known)


def _propose(
    site: Site, before: ir.Node, subject: Subject, known: dict[bytes, str | None]
) -> Proposal:
    reason = _reason_against(site, before)
    if reason is not None:
        return Refusal(_RULE, site.id, site.name, reason)
    channels = _channels(before)
    if channels is None:
        return Refusal(_RULE, site.id, site.name, "the number of channels is not known")
    attributes = [*_others(before), ir.AttrInt64("activation", _SILU)]
    version = subject.model.content.ir_version
    probe = normalization_probe(before, attributes, site, version, channels)
    if probe not in known:
        known[probe] = reason_on(subject.targets, probe)
    if (against := known[probe]) is not None:
        return Refusal(_RULE, site.id, site.name, f"{before.op_type}: {against}")
    region = (before, *site.nodes)
    return Change(
        rule=_RULE,
        fidelity=Fidelity.NUMERIC,
        site=site.id,
        before=f"{before.op_type}, {site.written}",
        after=f"{before.op_type}[SiLU]",
        nodes=tuple(n.name or n.op_type for n in region),
        apply=_edit(site, before),
        region=region,
    )


def _reason_against(site: Site, before: ir.Node) -> str | None:
    unset = next((n for n, a in before.attributes.items() if a.is_ref()), None)
    if unset is not None:
        return f"its {unset} is set by every call of the function"
    stated = before.attributes.get("activation")
    if stated is None or stated.value != _NONE:
        return f"{before.op_type} does not say that it applies no activation (activation = 0)"
    reason = reason_to_keep(before, site.nodes)
    if reason is None and any(v is not None and dtype_of(v) is None for v in before.inputs):
        return UNKNOWN_TYPE
    return reason


def _others(before: ir.Node) -> list[ir.Attr]:
    return [a for name, a in before.attributes.items() if name != "activation"]


def _channels(before: ir.Node) -> int | None:
    scale = shape_of(before.inputs[1]) if len(before.inputs) > 1 else None
    return scale[0] if scale is not None and len(scale) == 1 and isinstance(scale[0], int) else None


def _edit(site: Site, before: ir.Node) -> Callable[[Editor], None]:
    def apply(editor: Editor) -> None:
        # In its place: what a SkipGroupNorm makes beside this may be used before the SiLU is made.
        old, result = site.nodes[-1].outputs[0], before.outputs[0]
        assert site.activation is not None
        provenance = provenance_of(_RULE, site, site.activation, site.parameters)
        provenance["nodes"] = ", ".join(n.name or n.op_type for n in (before, *site.nodes))
        before.attributes["activation"] = ir.AttrInt64("activation", _SILU)
        editor.note(before, provenance)
        declare_like(old, result)
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        result.metadata_props.update(old.metadata_props)
        result.doc_string = old.doc_string
        editor.remove(site.nodes)
        name, old.name = old.name, None
        result.name = name
        declare_results([before], site, editor)

    return apply
