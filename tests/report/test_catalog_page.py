from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from onnx_act.activations.catalogue import CATALOGUE, find, known_names
from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.report.catalog_page import catalog_document, render_catalog


class Terminal(io.StringIO):
    encoding = "utf-8"


def _printed(name: str | None, width: int = 100, **parameters: float | str) -> str:
    output = Terminal()
    render_catalog(Console(file=output, width=width, color_system=None), name, parameters)
    return output.getvalue()


def _entry(name: str, **parameters: float | str) -> Any:
    document: Any = catalog_document(name, parameters)
    assert len(document["activations"]) == 1
    return document["activations"][0]


def test_the_document_holds_every_activation_and_is_plain_json() -> None:
    document: Any = catalog_document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert [a["name"] for a in document["activations"]] == [a.name for a in CATALOGUE]
    for entry in document["activations"]:
        assert entry["formula"]["text"]
        assert entry["formula"]["latex"]
        assert entry["formula"]["derivative"]["at_kinks"] == "from the left at a kink"
        assert entry["properties"]["range"]["text"]
        assert entry["lowerings"]["expression"]


def test_one_entry_says_everything() -> None:
    assert _entry("LeakyRelu", alpha=0.2) == {
        "name": "leaky_relu",
        "aliases": list(find("leaky_relu")[0].aliases),
        "presets": [],
        "parameters": [
            {
                "name": "negative_slope",
                "default": 0.01,
                "value": 0.2,
                "meaning": "slope left of zero",
                "aliases": ["alpha", "slope"],
                "choices": [],
                "is_per_channel": False,
                "is_positive": False,
            }
        ],
        "formula": {
            "text": "where(x > 0, x, negative_slope * x)",
            "latex": r"\begin{cases} x & x > 0 \\ \mathrm{negative\_slope} \, x & "
            r"\text{otherwise} \end{cases}",
            "derivative": {
                "text": "where(x > 0, 1, negative_slope)",
                "latex": r"\begin{cases} 1 & x > 0 \\ \mathrm{negative\_slope} & "
                r"\text{otherwise} \end{cases}",
                "at_kinks": "from the left at a kink",
            },
        },
        "variants": [],
        "properties": _entry("leaky_relu", negative_slope=0.2)["properties"],
        "lowerings": {
            "operators": [
                {
                    "op_type": "LeakyRelu",
                    "domain": "",
                    "since": 6,
                    "attributes": {"alpha": "negative_slope"},
                    "inputs": [],
                    "requires": {},
                    "fits": True,
                }
            ],
            "expression": "where(x > 0, x, 0.2 * x)",
        },
        "note": "",
    }


def test_both_gelus_are_variants() -> None:
    variants = {v["parameters"]["approximate"]: v["formula"] for v in _entry("gelu")["variants"]}
    assert variants["none"]["text"] == "x * Phi(x)"
    assert "0.044715" in variants["tanh"]["text"]


def test_a_preset_sets_its_parameter_and_an_option_overrides_it() -> None:
    assert _entry("quick_gelu")["parameters"][0]["value"] == 1.702
    assert _entry("quick_gelu", beta=2.0)["parameters"][0]["value"] == 2.0
    assert _entry("quick_gelu", alpha=2.0)["parameters"][0]["value"] == 2.0


def test_an_infinite_number_is_text() -> None:
    entry = _entry("clip", min=0.0, max=float("inf"))
    assert [p["value"] for p in entry["parameters"]] == [0.0, "inf"]
    json.dumps(entry, allow_nan=False)


def test_an_operator_that_does_not_fit_the_parameters_says_so() -> None:
    (softplus,) = _entry("softplus", beta=2.0)["lowerings"]["operators"]
    assert softplus["fits"] is False
    assert softplus["requires"] == {"beta": 1.0}
    (rrelu,) = _entry("rrelu")["lowerings"]["operators"]
    assert rrelu["attributes"] == {"alpha": "0.2291667"}


def test_the_table_names_everything_in_100_columns() -> None:
    printed = _printed(None)
    assert max(map(len, printed.splitlines())) <= 100
    for activation in CATALOGUE:
        assert f" {activation.name} " in printed
        for operator in activation.operators:
            assert f"{operator.op_type}-{operator.since}" in printed
    assert "[-0.16997, inf)" in printed, "brackets are not markup"


@pytest.mark.parametrize("name", known_names())
@pytest.mark.parametrize("width", [80, 100])
def test_every_page_fits_and_shows_the_picture(name: str, width: int) -> None:
    printed = _printed(name, width)
    lines = printed.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert lines[0].startswith(find(name)[0].name)
    for label in ("f(x)", "f'(x)", "LaTeX", "range", "properties", "lowerings"):
        assert any(line.startswith(label) for line in lines), label
    assert "┼" in printed


def test_the_page_of_gelu() -> None:
    printed = _printed("gelu")
    for content in (
        "gelu (also fast_gelu, gelu_tanh)",
        "f(x)         x * Phi(x)",
        "f'(x)        Phi(x) + 1/sqrt(2*pi) * x * exp(-x^2 / 2)",
        "range        [-0.16997, inf)",
        "not monotonic, smooth, zero-centred, unbounded, saturates on the left",
        "Gelu(approximate = approximate) since opset 20",
        "com.microsoft.FastGelu since opset 1, only with approximate = tanh",
        "0.84134",
        "1.08332",
    ):
        assert content in printed


def test_a_kink_is_named_with_its_rule() -> None:
    printed = _printed("relu6")
    assert "from the left at a kink" in printed
    assert "kinks at 0, 6" in printed
    assert "from the left" not in _printed("mish")


def test_without_unicode_there_is_no_picture() -> None:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    render_catalog(Console(file=output, width=80), "relu")
    output.flush()
    assert b"max(x, 0)" in raw.getvalue()


def test_wrong_names_and_values_are_answered() -> None:
    with pytest.raises(UnknownNameError, match="did you mean gelu"):
        catalog_document("gleu")
    with pytest.raises(UsageError, match="relu has no parameters"):
        _printed("relu", alpha=1.0)
    with pytest.raises(UsageError, match="takes a number"):
        _printed("elu", alpha="much")
