"""Where two models part: changes that were made on purpose, and what is said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import Net, save

import onnx_act
from onnx_act.errors import EvidenceError
from onnx_act.evidence.aligning import Method
from onnx_act.evidence.locate import locate_parting
from onnx_act.runtime.feeds import FeedRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from onnx_act.evidence.location import Location, PartingValue

_NET = Net()


def _locate(folder: Path, candidate: Net, reference: Net = _NET) -> Location:
    return locate_parting(
        reference.save(folder / "a.onnx"), candidate.save(folder / "b.onnx"), threads=1
    )


def _first(found: Location) -> PartingValue:
    assert found.parts
    assert found.first is not None
    return found.first


def test_a_model_does_not_part_from_itself(tmp_path: Path) -> None:
    found = _locate(tmp_path, _NET)
    assert not found.parts
    assert found.first is None
    assert found.message.startswith("nothing parts")
    assert (found.compared, found.differing, found.by_name) == (6, 0, 6)


def test_a_slope_that_is_off(tmp_path: Path) -> None:
    first = _first(_locate(tmp_path, _NET.but(slope=0.11)))
    assert first.value == "a"
    assert first.activation == "leaky_relu(negative_slope=0.1)"
    assert first.candidate_activation == "leaky_relu(negative_slope=0.11)"
    assert [n.op_type for n in first.nodes] == ["LeakyRelu"]
    assert [n.op_type for n in first.candidate_nodes] == ["LeakyRelu"]
    (seen,) = first.inputs
    assert seen.value == "n1"
    assert seen.low < -1 < 1 < seen.high
    # What was 0.1 x is 0.11 x there: a tenth of the reference.
    assert first.candidate == pytest.approx(1.1 * first.reference, rel=1e-5)
    assert first.max_abs == pytest.approx(abs(0.01 * seen.low), rel=1e-4)


def test_an_exchanged_activation(tmp_path: Path) -> None:
    found = _locate(tmp_path, _NET.but(second="LeakyRelu", second_slope=0.05))
    first = _first(found)
    assert first.value == "b"
    assert (first.activation, first.candidate_activation) == (
        "relu",
        "leaky_relu(negative_slope=0.05)",
    )
    assert "the models part at 'b', the result of relu" in found.message
    # All that lies behind it differs too, and is not the first.
    assert found.differing == 2
    assert found.others == ()


def test_a_lost_bias_is_at_the_convolution(tmp_path: Path) -> None:
    first = _first(_locate(tmp_path, _NET.but(dropped_bias=True)))
    assert (first.value, first.activation) == ("c2", "")
    assert first.nodes[-1].op_type == "Conv"
    assert first.at_index[1] == 4


@pytest.mark.parametrize("form", [{"folded": True}, {"folded": True, "fused": True}])
def test_a_fault_in_a_folded_or_fused_candidate(tmp_path: Path, form: dict[str, bool]) -> None:
    good, bad = _NET.but(**form), _NET.but(**form, slope=0.11)
    assert not _locate(tmp_path, good).parts
    first = _first(_locate(tmp_path, bad))
    assert first.value == "a"
    assert {n.op_type for n in first.nodes} >= {"LeakyRelu"}


def test_a_wrong_fold(tmp_path: Path) -> None:
    """A scale with the other sign: the convolution and what follows it until they meet again."""
    first = _first(_locate(tmp_path, _NET.but(folded=True, negated_scale=True)))
    # The folded convolution is what the normalised value was, as the activation behind it tells.
    assert (first.value, first.candidate_value) == ("n1", "c1")
    assert first.aligned_by is Method.STRUCTURE
    assert [n.op_type for n in first.nodes] == ["Conv", "BatchNormalization"]
    assert [n.op_type for n in first.candidate_nodes] == ["Conv"]


def test_a_change_of_our_own_names_its_rule(tmp_path: Path) -> None:
    source = _NET.save(tmp_path / "a.onnx")
    target = tmp_path / "b.onnx"
    onnx_act.swap(source, target, {"relu": "elu"}, validate=False)
    first = _first(locate_parting(source, target, threads=1))
    assert (first.value, first.activation, first.candidate_activation) == ("b", "relu", "elu")
    assert first.rule == "swap_activation"
    assert first.candidate_nodes[-1].provenance["from"] == "relu (Relu)"


def _scaled(path: Path, *, up: float, down: float, slope: float = 0.1) -> Path:
    """x -> up * x -> LeakyRelu -> down * that -> LeakyRelu -> sum with x."""
    node = helper.make_node
    nodes = [
        node("Mul", ["x", "up"], ["large"]),
        node("LeakyRelu", ["large"], ["bent"], alpha=0.1),
        node("Mul", ["bent", "down"], ["back"]),
        node("LeakyRelu", ["back"], ["again"], alpha=slope),
        node("Add", ["again", "x"], ["y"]),
    ]
    weights = {"up": np.array([up], np.float32), "down": np.array([down], np.float32)}
    return save(path, nodes, weights)


def test_what_comes_together_again_is_no_fault(tmp_path: Path) -> None:
    reference = _scaled(tmp_path / "a.onnx", up=2.0, down=0.5)
    same = locate_parting(reference, _scaled(tmp_path / "b.onnx", up=4.0, down=0.25), threads=1)
    assert not same.parts
    assert same.differing == 2
    assert "come together again" in same.message
    wrong = _scaled(tmp_path / "c.onnx", up=4.0, down=0.25, slope=0.2)
    first = _first(locate_parting(reference, wrong, threads=1))
    assert first.value == "again"


def test_the_size_of_a_chunk_does_not_matter(tmp_path: Path) -> None:
    reference, candidate = _NET.save(tmp_path / "a.onnx"), tmp_path / "b.onnx"
    _NET.but(second="Sigmoid").save(candidate)
    whole = locate_parting(reference, candidate, threads=1)
    pieces = locate_parting(reference, candidate, threads=1, chunk_bytes=1)
    assert pieces == whole


def test_what_was_not_looked_at_in_time_is_told(tmp_path: Path) -> None:
    reference, candidate = _NET.save(tmp_path / "a.onnx"), tmp_path / "b.onnx"
    _NET.but(second="Sigmoid").save(candidate)
    found = locate_parting(reference, candidate, threads=1, chunk_bytes=1, budget_s=0.0)
    # Edges of sites come first: at least one value is compared, however little time there is.
    assert (found.compared, found.left_out) == (1, 5)
    assert any("5 values were not compared" in note for note in found.notes)


def test_two_faults_side_by_side(tmp_path: Path) -> None:
    def two(path: Path, left: str, right: str) -> Path:
        node = helper.make_node
        nodes = [
            node(left, ["x"], ["l"]),
            node(right, ["x"], ["r"]),
            node("Sub", ["l", "r"], ["y"]),
        ]
        return save(path, nodes, {})

    reference = two(tmp_path / "a.onnx", "Relu", "Tanh")
    found = locate_parting(reference, two(tmp_path / "b.onnx", "Elu", "Softsign"), threads=1)
    assert _first(found).value == "l"
    assert found.others == ("r",)


def test_another_shape(tmp_path: Path) -> None:
    def summed(path: Path, *, keep: int) -> Path:
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=keep),
            helper.make_node("Relu", ["m"], ["y"]),
        ]
        return save(path, nodes, {})

    first = _first(
        locate_parting(
            summed(tmp_path / "a.onnx", keep=1), summed(tmp_path / "b.onnx", keep=0), threads=1
        )
    )
    assert first.criterion == "shape"


def test_tokens(tmp_path: Path) -> None:
    """No input is a float: the noise floor comes from the weights."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(10, 6)).astype(np.float32)

    def embedding(path: Path, table: np.ndarray) -> Path:
        nodes = [
            helper.make_node("Gather", ["table", "x"], ["e"]),
            helper.make_node("Tanh", ["e"], ["t"]),
            helper.make_node("Softmax", ["t"], ["y"]),
        ]
        tokens = [("x", np.int64, (4, 5))]
        return save(path, nodes, {"table": table}, inputs=tokens)

    wrong = table.copy()
    wrong[3] += 0.25
    first = _first(
        locate_parting(
            embedding(tmp_path / "a.onnx", table), embedding(tmp_path / "b.onnx", wrong), threads=1
        )
    )
    assert (first.value, first.nodes[-1].op_type) == ("e", "Gather")


def test_inside_a_branch_the_node_that_holds_it_is_named(tmp_path: Path) -> None:
    def branching(path: Path, operator: str) -> Path:
        def branch(name: str, kind: str) -> onnx.GraphProto:
            out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            return helper.make_graph([helper.make_node(kind, ["x"], [name])], name, [], [out])

        nodes = [
            helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "bound"], ["positive"]),
            helper.make_node(
                "If",
                ["positive"],
                ["chosen"],
                name="choose",
                then_branch=branch("p", operator),
                else_branch=branch("q", "Relu"),
            ),
            helper.make_node("Neg", ["chosen"], ["y"]),
        ]
        return save(path, nodes, {"bound": np.float32(-1e30)}, inputs=[("x", None, (2, 3))])

    found = locate_parting(
        branching(tmp_path / "a.onnx", "Tanh"), branching(tmp_path / "b.onnx", "Elu"), threads=1
    )
    first = _first(found)
    assert (first.value, first.nodes[-1].name) == ("chosen", "choose")
    assert found.out_of_sight == {"choose.then_branch": 1, "choose.else_branch": 1}
    assert any("cannot be looked at" in note for note in found.notes)


def test_models_without_anything_in_common(tmp_path: Path) -> None:
    one = save(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], {})
    nodes = [helper.make_node("Tanh", ["x"], ["p"]), helper.make_node("Abs", ["x"], ["q"])]
    outputs = [("p", None, None), ("q", None, None)]
    found = locate_parting(one, save(tmp_path / "b.onnx", nodes, {}, outputs=outputs))
    assert not found.parts
    assert "nothing aligns" in found.message
    assert found.unaligned == 1


def test_a_candidate_that_does_not_run(tmp_path: Path) -> None:
    nodes = [helper.make_node("Foo", ["x"], ["y"], domain="com.microsoft")]
    broken = save(tmp_path / "b.onnx", nodes, {})
    with pytest.raises(EvidenceError, match="the candidate does not run"):
        locate_parting(_NET.save(tmp_path / "a.onnx"), broken)


def test_half_precision_is_no_fault_and_a_fault_in_it_is(tmp_path: Path) -> None:
    half = _NET.but(dtype=np.float16)
    request = FeedRequest(count=3)
    reference = half.save(tmp_path / "a.onnx")
    same = locate_parting(reference, reference, request=request, threads=1)
    assert not same.parts
    wrong = half.but(slope=0.15).save(tmp_path / "b.onnx")
    assert _first(locate_parting(reference, wrong, request=request, threads=1)).value == "a"


def test_planted_faults_are_named(script: Callable[[str], ModuleType]) -> None:
    """A small run of the benchmark: networks with 20 sites, every kind of fault."""
    faults, planted = script("faults"), script("planted_faults")
    models = [(str(seed), faults.generated(seed)) for seed in (11, 12, 13)]
    trials = planted.run(models, 24, 5)
    assert len(trials) == 24
    assert {t.handed for t in trials} == set(planted.HANDED)
    assert len({t.kind for t in trials}) >= 6
    assert planted.rate(trials) >= planted.LEAST_RATE, planted.table(trials, "kind")
