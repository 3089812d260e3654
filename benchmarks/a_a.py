"""Does `bench` claim differences that are not there, and does it find one that is?

    python benchmarks/a_a.py [--runs 200] [--time 1.5] [--planted 10] [--json FILE]

A small model is measured against itself, again and again, each time in a process of its own: a
difference may be claimed in at most 5 % of the runs. Then against itself with one more layer,
which costs about 3 %: that must be found within 60 s every time. How many layers make one of them
3 % is found by measuring. Exit code 1 when one of the two does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx_act.evidence.latency import measure_latency
from onnx_act.evidence.machine import busy_warning, cpu_model
from onnx_act.evidence.statistics import wilson_interval
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.session import runtime_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.evidence.latency import Latency

#: What `bench` stops at when nobody says otherwise.
PRECISION: Final = 0.005
#: What the further layer shall cost, as a part of the rest.
PLANTED: Final = 0.03
#: How long finding it may take, in seconds.
PLANTED_S: Final = 60.0
#: Part of the comparisons of a model with itself that may claim a difference.
ALLOWED: Final = 0.05
_WIDTH: Final = 96
_CALIBRATION: Final = (16, 48)
_TIME_LIMIT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one run of `bench` said.

    Attributes:
        median: Time of the first model over time of the second.
        low: Lower end of its interval.
        high: Upper end.
        verdict: As `bench` words it.
        is_precise: Whether it stopped before the time was up.
        seconds: How long it took.
        busy: Whether others were using the machine.
    """

    median: float
    low: float
    high: float
    verdict: str
    is_precise: bool
    seconds: float
    busy: bool

    @property
    def claims(self) -> bool:
        """Whether it says that there is a difference."""
        return self.verdict != "no difference shown"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


def layers(count: int, path: Path) -> Path:
    """A model of so many equal layers, each a product and a Tanh."""
    nodes = []
    for i in range(count):
        end = f"v{i + 1}" if i + 1 < count else "y"
        nodes += [
            helper.make_node("MatMul", [f"v{i}" if i else "x", "w"], [f"m{i}"]),
            helper.make_node("Tanh", [f"m{i}"], [end]),
        ]
    weights = np.random.default_rng(0).normal(0, 0.1, (_WIDTH, _WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", _WIDTH])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", _WIDTH])],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def compare(a: Path, b: Path | None, seconds: float, *, seed: int, threads: int) -> Latency:
    """What `bench` measures, in a process of its own."""
    # Imported here for the workers' sake: the request is small and picklable.
    from onnx_act.runtime.feeds import FeedRequest  # noqa: PLC0415

    return run_isolated(
        measure_latency,
        a,
        b,
        seconds=seconds,
        threads=threads,
        request=FeedRequest(seed=seed, shapes=(("x", (16, _WIDTH)),)),
        precision=PRECISION,
        timeout_s=10 * seconds + _TIME_LIMIT_S,
    )


def layers_for(share: float, folder: Path, threads: int) -> int:
    """Of how many layers one more costs this part of the rest."""
    few, many = _CALIBRATION
    a, b = layers(few, folder / "few.onnx"), layers(many, folder / "many.onnx")
    measured = compare(a, b, 10.0, seed=0, threads=threads)
    assert measured.ratio is not None
    # time(n) = fixed + n * one; the ratio tells it in units of time(few).
    one = (1.0 / measured.ratio.median - 1.0) / (many - few)
    fixed = 1.0 - few * one
    return max(1, round(1.0 / share - fixed / one))


def comparisons(a: Path, b: Path, seconds: float, runs: int, threads: int) -> Iterator[Comparison]:
    """One after the other."""
    for seed in range(runs):
        started = time.perf_counter()
        measured = compare(a, b, seconds, seed=seed, threads=threads)
        ratio = measured.ratio
        assert ratio is not None
        yield Comparison(
            ratio.median,
            ratio.low,
            ratio.high,
            ratio.verdict,
            measured.is_precise,
            time.perf_counter() - started,
            any("busy" in warning for warning in measured.warnings),
        )


def most_claims(runs: int, chance: float = ALLOWED, doubt: float = 0.001) -> int:
    """What a rate of `chance` exceeds in so many runs with at most this probability."""
    from math import comb  # noqa: PLC0415 - needed nowhere else

    above = 1.0
    for count in range(runs + 1):
        above -= comb(runs, count) * chance**count * (1.0 - chance) ** (runs - count)
        if above <= doubt:
            return count
    return runs


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say whether both promises hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of a model with itself")
    parser.add_argument("--time", type=float, default=1.5, help="seconds for each of them")
    parser.add_argument("--planted", type=int, default=10, help="of a model that is slower")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    print(f"{cpu_model()}, ONNX Runtime {runtime_version()}, {options.threads} threads")
    print(busy_warning() or "the machine was not busy")
    with TemporaryDirectory() as name:
        folder = Path(name)
        count = layers_for(PLANTED, folder, options.threads)
        base, more = layers(count, folder / "a.onnx"), layers(count + 1, folder / "b.onnx")
        print(f"{count} layers, so that one more costs {100 * PLANTED:g} %")
        itself = []
        for one in comparisons(base, base, options.time, options.runs, options.threads):
            itself.append(one)
            if one.claims:
                print(f"  claimed: {one.median:.4f} [{one.low:.4f}, {one.high:.4f}]", flush=True)
        planted = []
        for one in comparisons(base, more, PLANTED_S, options.planted, options.threads):
            planted.append(one)
            print(
                f"  planted: {one.median:.4f} [{one.low:.4f}, {one.high:.4f}] {one.verdict} "
                f"after {one.seconds:.1f} s",
                flush=True,
            )
    if options.json:
        figures = {"layers": count, "threads": options.threads}
        found = {"itself": itself, "planted": planted}
        lists = {key: [one.to_dict() for one in many] for key, many in found.items()}
        options.json.write_text(json.dumps({**figures, **lists}, indent=1), encoding="utf-8")
    return _say(itself, planted)


def _say(itself: list[Comparison], planted: list[Comparison]) -> int:
    claims = sum(one.claims for one in itself)
    low, high = wilson_interval(claims, len(itself))
    found = sum(one.verdict == "slower" for one in planted)
    widths = [one.high / one.low - 1.0 for one in itself]
    print(
        f"with itself: {claims} of {len(itself)} claim a difference "
        f"(95 % interval of the rate {100 * low:.1f} to {100 * high:.1f} %); "
        f"{sum(one.is_precise for one in itself)} stopped early, "
        f"{sum(one.busy for one in itself)} on a busy machine, "
        f"median width of the interval {100 * float(np.median(widths or [0.0])):.2f} %"
    )
    print(f"with one more layer: found in {found} of {len(planted)}")
    holds = claims <= ALLOWED * len(itself) and found == len(planted)
    print("both hold" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
