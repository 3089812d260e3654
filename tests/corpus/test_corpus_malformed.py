"""A broken file is either read or refused in one line; nothing else ever comes out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnx_act.errors import ModelError
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model

#: Files that load: what is broken about them is numeric, or is for the runtime to say.
_READABLE = {
    "bitflip_01": ["relu"],
    "bitflip_05": ["relu"],
    "bitflip_09": ["relu"],
    "bitflip_11": ["relu"],
    "leaky_alpha_huge": ["leaky_relu"],
    "leaky_alpha_inf": ["leaky_relu"],
    "output_no_type": ["relu"],
    "output_type_lie": [],
    "passthrough": [],
    "prelu_slope_mismatch": ["prelu"],
    "string_weight": ["relu"],
    "weight_wrong_channels": ["relu"],
}


def _files() -> list[str]:
    named = os.environ.get("ONNX_ACT_CORPUS")
    if not named:
        return ["(no corpus)"]
    found = sorted(p.stem for p in (Path(named) / "malformed").glob("*.onnx"))
    return found or ["(empty corpus)"]


@pytest.mark.corpus
@pytest.mark.parametrize("name", _files())
def test_a_broken_file_is_read_or_refused(corpus: Path, name: str) -> None:
    path = corpus / "malformed" / f"{name}.onnx"
    if name in _READABLE:
        assert [s.name for s in find_sites(load_model(path))] == _READABLE[name]
        return
    with pytest.raises(ModelError) as caught:
        find_sites(load_model(path))
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) > len(f"{path}: ") + 10


@pytest.mark.corpus
def test_every_readable_file_is_there(corpus: Path) -> None:
    there = {p.stem for p in (corpus / "malformed").glob("*.onnx")}
    assert set(_READABLE) <= there
    assert len(there) == 52
