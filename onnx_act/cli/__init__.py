"""The command line: one file a command, thin."""

from onnx_act.cli.app import main

__all__ = ["main"]
