"""No false identification: every recognised region is run alone against the float64 reference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from region_models import assert_is_its_activation, constants_of, is_float, region_key, region_model

from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.graph.sites import Spelling

_ALONE = {Spelling.OPERATOR, Spelling.CONTRIB, Spelling.EXPRESSION}


def _files() -> list[str]:
    named = os.environ.get("ONNX_ACT_CORPUS")
    if not named:
        return ["(no corpus)"]
    root = Path(named)
    paths = (p.relative_to(root) for p in sorted(root.rglob("*.onnx")))
    return [str(p) for p in paths if p.parts[0] != "malformed"] or ["(empty corpus)"]


@pytest.mark.corpus
@pytest.mark.parametrize("name", _files())
def test_every_recognised_region_is_what_it_is_called(corpus: Path, name: str) -> None:
    model = load_model(corpus / name)
    constants = constants_of(model)
    seen: set[str] = set()
    for site in find_sites(model, routine=True):
        if site.activation is None or site.spelling not in _ALONE or not is_float(site):
            continue
        region = region_model(model, site, constants)
        key = region_key(region, site)
        if key not in seen:
            seen.add(key)
            assert_is_its_activation(site, region)


@pytest.mark.corpus
def test_the_corpus_is_whole(corpus: Path) -> None:
    # The census below would pass on half a corpus, were it not for this.
    assert len([p for p in corpus.rglob("*.onnx") if "malformed" not in p.parts]) == 110


def test_a_wrong_name_would_be_noticed() -> None:
    """The check itself can fail: a region is held against an activation it is not."""
    from dataclasses import replace  # noqa: PLC0415

    import onnx  # noqa: PLC0415

    from onnx_act.activations.catalogue import named  # noqa: PLC0415

    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 4] x) => (float[N, 4] y) { y = LeakyRelu <alpha = 0.1> (x) }"""
    )
    model = load_model(proto)
    (site,) = find_sites(model)
    region = region_model(model, site, constants_of(model))
    assert_is_its_activation(site, region)
    wrong = [
        replace(site, parameters={"negative_slope": 0.10001}),
        replace(site, activation=named("relu"), parameters={}),
        replace(site, activation=named("elu"), parameters={"alpha": 0.1}),
    ]
    for changed in wrong:
        with pytest.raises(AssertionError, match="is not"):
            assert_is_its_activation(changed, region)
