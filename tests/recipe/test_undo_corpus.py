"""Every model of the corpus: what contrib fusion put in, undo takes out again."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from nameless import nameless

import onnx_act

pytestmark = [pytest.mark.corpus, pytest.mark.slow]

_ROOT = Path(os.environ.get("ONNX_ACT_CORPUS", "no-corpus"))
_SOUND = ("trained", "exported", "convnets", "derived", "synthetic")
# Operators of the domain that hold no activation, or one that no kernel of theirs knows.
_NOT_UNDONE = {"FusedConv[Gelu]", "FusedMatMul", "GroupNorm", "SkipGroupNorm"}


def _names() -> list[str]:
    found = [p for f in _SOUND for p in (_ROOT / f).glob("**/*.onnx")]
    return sorted(p.relative_to(_ROOT).as_posix() for p in found)


def _contrib(model: onnx.ModelProto) -> set[str]:
    """The contrib operators of a model, bodies and functions included, with what they apply."""
    found = set()
    pending = [model.graph.node, *(f.node for f in model.functions)]
    while pending:
        for node in pending.pop():
            pending.extend(a.g.node for a in node.attribute if a.HasField("g"))
            if node.domain == "com.microsoft":
                stated = [a.s.decode() for a in node.attribute if a.name == "activation" and a.s]
                found.add(node.op_type + "".join(f"[{s}]" for s in stated))
    return found


@pytest.mark.parametrize("name", _names())
def test_fused_undone_and_fused_again(name: str, corpus: Path, tmp_path: Path) -> None:
    fused, plain, again = (tmp_path / f"{n}.onnx" for n in ("fused", "plain", "again"))
    made = onnx_act.fuse(corpus / name, fused, fuse="contrib")
    if made.exit_code:
        pytest.skip("the runtime does not run this model")
    undone = onnx_act.fuse(fused, plain, undo=True)
    (entry,) = undone.to_dict()["models"]
    assert undone.exit_code == 0, entry["message"]
    assert _contrib(onnx.load(plain)) <= _NOT_UNDONE
    if _contrib(onnx.load(fused)) and not _contrib(onnx.load(plain)):
        assert "com.microsoft" not in {i.domain for i in onnx.load(plain).opset_import}
        assert "onnx_act.fused_for" not in {p.key for p in onnx.load(plain).metadata_props}
    assert onnx_act.fuse(plain, again, fuse="contrib", validate=False).exit_code == 0
    opset = next(i.version for i in onnx.load(plain).opset_import if not i.domain)
    if opset >= 20 and _contrib(onnx.load(fused)) & {"Gelu", "FastGelu"}:
        # From its formula it was fused; undone it is the standard's operator, which is not.
        assert not _contrib(onnx.load(again)) & {"Gelu", "FastGelu"}
    elif not _contrib(onnx.load(corpus / name)):
        assert nameless(onnx.load(again)) == nameless(onnx.load(fused))
