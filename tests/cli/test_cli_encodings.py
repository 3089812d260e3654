"""Names that the terminal's encoding has no characters for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "激活-é"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    content = conv_model()
    (act,) = (node for node in content.graph.node if node.name == "act")
    before = act.output[0]
    for node in content.graph.node:
        node.output[:] = [_NAME if name == before else name for name in node.output]
        node.input[:] = [_NAME if name == before else name for name in node.input]
    return save(content, tmp_path / "model.onnx")


def _inspect(encoding: str, *arguments: object) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "onnx_act", "inspect", "--sites", *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.decode(encoding)


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"\u6fc0\u6d3b-\xe9"), ("cp1252", "é")])
def test_they_are_spelled(encoding: str, shown: str, model: Path) -> None:
    assert shown in _inspect(encoding, model)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_stays_json(encoding: str, model: Path) -> None:
    (entry,) = json.loads(_inspect(encoding, model, "--format", "json"))["models"]
    assert [site["id"] for site in entry["sites"]] == [_NAME]
