"""Fuse the operators that spell a GELU into com.microsoft.Gelu, or FastGelu where it is by tanh.

Not valid where a target has no kernel for them. A GELU that is one operator already is left alone,
and so is one at an opset that has such an operator: `raise_activation` is what makes it of that.
"""

from __future__ import annotations

from typing import Final

from onnx_act.graph.sites import Spelling
from onnx_act.rewrite.fuse_quick_gelu import FuseSpelling

#: Either GELU as the contrib operator of its own.
FUSE_GELU: Final = FuseSpelling(
    frozenset({"gelu"}),
    frozenset({Spelling.EXPRESSION}),
    beside_standard=False,
    name="fuse_gelu",
)
