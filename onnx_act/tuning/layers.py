"""The one other way to write what stands between activations: linear layers as Gemm.

Attention is made of biased products whose results are reshaped, and how they are written may cost
more than how its activations are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.rewrite.engine import plan_rule
from onnx_act.rewrite.flatten_matmul import FlattenMatMul
from onnx_act.tuning.outcome import FLATTENED, CandidateOutcome, GroupOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.evidence.statistics import Interval
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Capabilities

_SIGNATURE: Final = "linear layers that are reshaped"


@dataclass(slots=True)
class LayersState:
    """What is known of the linear layers of a model while the search goes on.

    Attributes:
        sites: the names of the results that could be written in the other way.
        before: how they are written.
        after: how they could be.
        is_chosen: whether they are to be.
        reason: why, or why not.
        verdict: what became of the other way.
        measured: its interval in the whole model.
    """

    sites: tuple[str, ...]
    before: str
    after: str
    is_chosen: bool = False
    reason: str = "it was not measured"
    verdict: str = ""
    measured: Interval | None = None

    @property
    def signature(self) -> str:
        """What they have in common with those of other models."""
        return f"{_SIGNATURE}, {self.before}; ways {FLATTENED}"

    def choices(self) -> dict[str, str]:
        """Site -> key of the other way."""
        return dict.fromkeys(self.sites, FLATTENED)

    def outcome(self) -> GroupOutcome:
        """As a report shows it."""
        verdict = "chosen" if self.is_chosen else self.verdict or self.reason
        way = CandidateOutcome(FLATTENED, self.after, verdict, model=self.measured)
        return GroupOutcome(
            signature=self.signature,
            activation="linear layers",
            sites=self.sites,
            before=self.before,
            chosen=FLATTENED if self.is_chosen else None,
            after=self.after if self.is_chosen else self.before,
            reason=self.reason,
            share=None,
            candidates=(way,),
        )


def find_layers(
    model: OnnxModel, targets: Capabilities, sites: Sequence[Site]
) -> LayersState | None:
    """The linear layers of a model that have another way to be written; None if none has.

    Args:
        model: left as it is.
        targets: what the result must run on.
        sites: of the model.
    """
    changes = plan_rule(FlattenMatMul(), model, targets, sites).changes
    if not changes:
        return None
    return LayersState(tuple(c.site for c in changes), changes[0].before, changes[0].after)
