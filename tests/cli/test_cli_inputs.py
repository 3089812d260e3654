from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from command_line import run_here

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = """<ir_version: 9, opset_import: ["" : 17]>
g (int64[N, 4] ids) => (float[N, 4, 2] y)
<float[3, 2] t = {1, 2, 3, -4, 5, 6}> { a = Gather (t, ids) b = Relu (a) y = Neg (b) }"""
PICTURE = """<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { b = Relu (x) y = Neg (b) }"""
WORDS = """<ir_version: 9, opset_import: ["" : 17]>
g (string[2] words, float[2] x) => (string[2] w, float[2] y)
{ w = Identity (words) b = Relu (x) y = Neg (b) }"""


def written(folder: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), folder / "m.onnx")
    return folder / "m.onnx"


def test_tokens_are_fed_what_their_table_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(tmp_path, TOKENS)
    ran = run_here(capsys, "validate", model, model, "--format", "json")
    assert ran.code == 0
    assert "integer inputs are fed what the model can take: ids 0 to 2" in ran.entry["notes"]
    ran = run_here(
        capsys, "swap", model, tmp_path / "o.onnx", "--swap", "relu=hardswish", "--format", "json"
    )
    assert ran.code == 0
    assert "integer inputs are fed what the model can take: ids 0 to 2" in ran.entry["notes"]


def test_a_range_that_the_model_does_not_take_is_no_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(tmp_path, TOKENS)
    ran = run_here(capsys, "validate", model, model, "--input-range", "ids:7,9")
    assert ran.code == 1
    assert "--input-range ids:0,99" in ran.err
    ran = run_here(capsys, "bench", model, "--time", "200ms", "--input-range", "ids:1,1")
    assert ran.code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input-range", "ids=0,1"], "--input-range takes NAME:LOW,HIGH"),
        (["--input-range", "idz:0,1"], "no input 'idz'; its inputs are ids"),
        (["--input-range", "ids:1,0"], "is empty"),
        (["--normalize", "imagenet"], "needs --data"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_wrong_options_are_wrong_use(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(tmp_path, TOKENS)
    for command in (["validate", model, model], ["swap", model, tmp_path / "o.onnx"]):
        asked = [*command, *(["--swap", "relu=gelu"] if command[0] == "swap" else [])]
        ran = run_here(capsys, *asked, *options)
        assert ran.code == 2
        assert message in ran.err
    assert not (tmp_path / "o.onnx").exists()


def test_images_are_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    model = written(tmp_path, PICTURE)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        pixels = np.full((5, 6, 3), 100 * index, np.uint8)
        image.fromarray(pixels).save(pictures / f"{index}.jpg")
    ran = run_here(
        capsys,
        "validate",
        model,
        model,
        "--data",
        pictures,
        "--normalize",
        "imagenet",
        "--format",
        "json",
    )
    assert ran.code == 0
    assert ran.entry["equivalence"]["feeds"] == ["data"] * 3
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    other = written(tokens, TOKENS)
    ran = run_here(capsys, "validate", other, other, "--data", pictures)
    assert ran.code == 2
    assert "is no image" in ran.err


def test_what_cannot_be_made_up_is_no_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(tmp_path, WORDS)
    ran = run_here(capsys, "validate", model, model)
    assert ran.code == 1
    assert "no values can be generated for input 'words' of type string" in ran.err
    assert "--data FILE.npz" in ran.err
    out = tmp_path / "o.onnx"
    ran = run_here(capsys, "swap", model, out, "--swap", "relu=gelu")
    assert ran.code == 1
    assert not out.exists()
    np.savez(tmp_path / "d.npz", words=np.array(["a", "b"]), x=np.ones(2, np.float32))
    ran = run_here(capsys, "validate", model, model, "--data", tmp_path / "d.npz")
    assert ran.code == 0, ran.err
