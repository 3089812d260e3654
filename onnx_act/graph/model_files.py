"""Which files a model is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from onnx_act.graph.model import graphs_of

if TYPE_CHECKING:
    from pathlib import Path


def model_files(path: Path) -> tuple[str, ...]:
    """A model's file and those with its external weights, as names relative to its folder.

    Of a file that is no model, the file alone.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError):
        return (path.name,)
    graphs = list(graphs_of(proto))
    nodes = [*(n for f in proto.functions for n in f.node), *(n for g in graphs for n in g.node)]
    tensors = [
        *(t for g in graphs for t in g.initializer),
        *(t for n in nodes for a in n.attribute for t in (a.t, *a.tensors)),
    ]
    places = {
        entry.value
        for tensor in tensors
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return (path.name, *sorted(places))
