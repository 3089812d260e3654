from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_act.activations.catalogue import named
from onnx_act.errors import UsageError
from onnx_act.graph.model import load_model
from onnx_act.recipe.inputs import knots_of, make_feed_request, parse_ranges, suited_feeds
from onnx_act.rewrite.swap_request import parse_swap
from onnx_act.runtime.feeds import FeedRequest

TOKENS = """<ir_version: 9, opset_import: ["" : 17]>
g (int64[N] ids, int64[N] places, float[N, 2] x) => (float[N, 2] y)
<float[3, 2] t = {1, 2, 3, 4, 5, 6}, float[2, 2] u = {1, 2, 3, 4}, float low = {0},
 float high = {6}>
{ a = Gather (t, ids) b = Gather (u, places) c = Add (a, b) d = Add (c, x)
  e = LeakyRelu <alpha: float = 0.1> (d) f = Clip (e, low, high) y = HardSigmoid (f) }"""


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(TOKENS)


@pytest.mark.parametrize(
    ("text", "name", "limits"),
    [
        ("ids:0,30521", "ids", (0.0, 30521.0)),
        ("input:0:-1.5,+2e-3", "input:0", (-1.5, 2e-3)),
        (" x:[0, .5] ", "x", (0.0, 0.5)),
    ],
)
def test_ranges_are_read(text: str, name: str, limits: tuple[float, float]) -> None:
    assert parse_ranges([text]) == ((name, limits),)


@pytest.mark.parametrize(
    "texts", [["x"], ["x:1"], ["x:1,2,3"], ["x:a,b"], [":1,2"], ["x:0,nan"], ["x:0,1", "x:0,2"]]
)
def test_other_ranges_are_wrong_use(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--input-range"):
        parse_ranges(texts)


def test_what_the_model_tells_is_added() -> None:
    feeds, notes = suited_feeds(FeedRequest(seed=3), load_model(model()))
    assert feeds.seed == 3
    assert dict(feeds.ranges) == {"ids": (0.0, 2.0), "places": (0.0, 1.0)}
    # HardSigmoid with its own slope of 0.2 ends at -2.5 and 2.5.
    assert feeds.knots == (-2.5, 0.0, 2.5, 6.0)
    assert notes == ("integer inputs are fed what the model can take: ids 0 to 2, places 0 to 1",)


def test_what_the_user_says_comes_first() -> None:
    asked = FeedRequest(ranges=(("ids", (1.0, 1.0)),), knots=(9.0,))
    feeds, notes = suited_feeds(asked, load_model(model()))
    assert dict(feeds.ranges) == {"ids": (1.0, 1.0), "places": (0.0, 1.0)}
    assert feeds.knots == (9.0,)
    assert "ids" not in notes[0]


def test_real_inputs_are_left_alone() -> None:
    asked = FeedRequest(data=Path("d.npz"))
    assert suited_feeds(asked, load_model(model())) == (asked, ())


def test_what_is_put_in_bends_too() -> None:
    swaps = [parse_swap("leaky_relu=softshrink:lambd=1.25")]
    feeds, _ = suited_feeds(FeedRequest(), load_model(model()), swaps=swaps)
    assert {-1.25, 1.25} <= set(feeds.knots)


def test_every_channel_bends_where_it_bends() -> None:
    thresholds = {"threshold": np.array([0.5, 1.5])}
    assert knots_of([(named("threshold"), thresholds)]) == (0.5, 1.5)
    assert knots_of([(named("gelu"), {})]) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "the seed"),
        ({"normalize": "imagenet"}, "needs --data"),
        ({"data": Path("d.npz"), "ranges": (("x", (0.0, 1.0)),)}, "does not go with --data"),
    ],
)
def test_what_does_not_go_together_is_wrong_use(given: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {
        "seed": 0,
        "data": None,
        "shapes": (),
        "ranges": (),
        "normalize": None,
    }
    with pytest.raises(UsageError, match=message):
        make_feed_request(**usual | given)  # type: ignore[arg-type]
