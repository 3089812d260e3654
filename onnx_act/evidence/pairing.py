"""Which value of one model answers to which of another, and feeds carried across."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError
from onnx_act.runtime.tensors import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array, TensorSpec


def pair(what: str, wanted: Sequence[TensorSpec], offered: Sequence[TensorSpec]) -> dict[str, str]:
    """Names of one model to names of another: by name, else by position.

    Args:
        what: `input` or `output`, for the message.
        wanted: The reference's values.
        offered: The candidate's values.

    Raises:
        EvidenceError: A name is missing and the numbers differ too.
    """
    names = {spec.name for spec in offered}
    missing = [spec.name for spec in wanted if spec.name not in names]
    if not missing:
        return {spec.name: spec.name for spec in wanted}
    if len(wanted) == len(offered):
        return {a.name: b.name for a, b in zip(wanted, offered, strict=True)}
    raise EvidenceError(
        f"the candidate has no {what} {missing[0]!r}; it has "
        f"{', '.join(spec.name for spec in offered) or 'none'}"
    )


class FeedAdapter:
    """Carries feeds of one model to another whose inputs have other names or float types."""

    def __init__(self, source: Sequence[TensorSpec], session: Session) -> None:
        names = pair("input", source, session.inputs)
        unfed = [spec.name for spec in session.inputs if spec.name not in names.values()]
        if unfed:
            raise EvidenceError(f"the candidate wants an input {unfed[0]!r} that is not fed")
        targets = {spec.name: spec for spec in session.inputs}
        self._plan = [
            (
                name,
                other,
                numpy_dtype(targets[other].dtype)
                if targets[other].is_float and targets[other].dtype != spec.dtype
                else None,
            )
            for spec in source
            for name, other in [(spec.name, names[spec.name])]
        ]

    def __call__(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """The same feed under the other model's names, in its float types."""
        return {
            other: feed[name] if dtype is None else feed[name].astype(dtype)
            for name, other, dtype in self._plan
        }
