"""The verbs of the command line as functions, with the same words and the same results."""

from onnx_act.api.comparison import bench, rejudge, validate
from onnx_act.api.conversion import convert, fuse, swap, tune
from onnx_act.api.looking import catalog, inspect
from onnx_act.api.many import convert_batch

__all__ = [
    "bench",
    "catalog",
    "convert",
    "convert_batch",
    "fuse",
    "inspect",
    "rejudge",
    "swap",
    "tune",
    "validate",
]
