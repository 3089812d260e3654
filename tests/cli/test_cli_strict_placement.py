"""`--strict-placement`, on the CPU: nothing can be elsewhere; and with a made-up other provider.

What a real second provider does is in tests/gpu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import run_here
from tiny_files import conv_model, save

import onnx_act
from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.evidence.placement import CrossingValue, NodeElsewhere, Placement
from onnx_act.recipe import placement

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
_OTHER = "OtherExecutionProvider"
_CPU = "CPUExecutionProvider"


def _placed(model: str, *names: str, known: bool = True) -> Placement:
    return Placement(
        model=model,
        provider=_OTHER,
        nodes={_OTHER: 2, _CPU: len(names)} if known else None,
        elsewhere=tuple(NodeElsewhere("Unique", name, _CPU) for name in names),
        crossing=tuple(CrossingValue(f"of {name}", 2048) for name in names),
        copied_bytes=2048 * len(names),
    )


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> dict[str, Placement]:
    """Where the models run, by what they are called; pretends that another provider was named."""
    told: dict[str, Placement] = {}

    def measured(_: object, models: dict[str, Path], **__: object) -> tuple[Placement, ...]:
        return tuple(told[name] for name in models)

    monkeypatch.setattr(placement, "run_isolated", measured)
    monkeypatch.setattr(placement, "CPU", "something else")
    return told


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "m.onnx")


def test_on_the_cpu_all_is_where_it_was_asked_to_be(capsys: Capture, model: Path) -> None:
    ran = run_here(capsys, "validate", model, model, "--strict-placement", "--format", "json")
    assert ran.code == 0
    assert "placement" not in ran.entry


def test_validate_fails_and_names_the_nodes(
    capsys: Capture, model: Path, elsewhere: dict[str, Placement]
) -> None:
    elsewhere |= {"reference": _placed("reference"), "candidate": _placed("candidate", "u", "v")}
    plain = run_here(capsys, "validate", model, model)
    assert plain.code == 0
    assert "2 Unique (cpu)" in plain.out
    assert "4.1 kB" in plain.out
    ran = run_here(capsys, "validate", model, model, "--strict-placement", "--format", "json")
    assert ran.code == 1
    assert ran.entry["outcome"] == "failed"
    said = "2 nodes run on cpu instead of other in the candidate: Unique 'u', Unique 'v'"
    assert ran.entry["message"] == said
    of_candidate = ran.entry["placement"][1]
    assert of_candidate["nodes"] == {_OTHER: 2, _CPU: 2}
    assert of_candidate["elsewhere"][0] == {"op_type": "Unique", "name": "u", "provider": _CPU}
    assert of_candidate["crossing"][0] == {"name": "of u", "bytes": 2048}
    assert of_candidate["copied_bytes"] == 4096


def test_what_only_the_reference_does_is_no_failure(
    capsys: Capture, model: Path, elsewhere: dict[str, Placement]
) -> None:
    elsewhere |= {"reference": _placed("reference", "u"), "candidate": _placed("candidate")}
    assert run_here(capsys, "validate", model, model, "--strict-placement").code == 0


def test_a_runtime_that_does_not_say_cannot_be_held_to_it(
    capsys: Capture, model: Path, elsewhere: dict[str, Placement]
) -> None:
    elsewhere |= {
        "reference": _placed("reference"),
        "candidate": _placed("candidate", known=False),
    }
    ran = run_here(capsys, "validate", model, model, "--strict-placement")
    assert ran.code == 1
    assert "does not say where nodes run" in ran.out


@pytest.mark.parametrize("command", ["convert", "swap", "fuse", "tune"])
def test_every_conversion_takes_it_and_writes_nothing(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    elsewhere: dict[str, Placement],
    command: str,
) -> None:
    elsewhere |= {"original": _placed("original", "u"), "result": _placed("result", "u")}
    monkeypatch.setattr("onnx_act.recipe.convert.run_tuning", _tunes_nothing)
    out = model.with_name("out.onnx")
    extra = {
        "convert": ("-o", out, "--fuse=portable", "--no-bench"),
        "swap": (out, "--swap", "relu=leaky_relu"),
        "fuse": (out, "--fuse=portable"),
        "tune": (out, "--budget", "5s"),
    }[command]
    ran = run_here(capsys, command, model, *extra, "--strict-placement", "--no-validate")
    assert ran.code == 1, ran
    assert "1 node runs on cpu instead of other in the result: Unique 'u'" in ran.out
    assert not out.exists()
    forced = run_here(
        capsys, command, model, *extra, "--strict-placement", "--no-validate", "--force"
    )
    assert forced.code == 1
    assert out.exists()


def _tunes_nothing(*_: object) -> tuple[None, object]:
    from onnx_act.rewrite.engine import Plan  # noqa: PLC0415 - beside its only use

    return None, Plan()


def test_what_cannot_be_found_out_is_a_note_or_strictly_a_failure(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    def crashes(*_: object, **__: object) -> None:
        raise EvidenceError("ONNX Runtime crashed in measure_placement with SIGSEGV")

    monkeypatch.setattr(placement, "run_isolated", crashes)
    monkeypatch.setattr(placement, "CPU", "something else")
    lax = onnx_act.validate(model, model)
    assert lax.exit_code == 0
    assert any("where nodes run could not be found out" in n for n in lax.models[0].notes)
    strict = onnx_act.validate(model, model, strict_placement=True)
    assert strict.exit_code == 1
    assert "crashed in measure_placement" in strict.models[0].message


def test_a_provider_that_is_not_there_stays_exit_4(capsys: Capture, model: Path) -> None:
    ran = run_here(capsys, "validate", model, model, "--provider", "qnn", "--strict-placement")
    assert ran.code == ProviderUnavailableError.exit_code == 4
