"""Folding and fusing beside what else people run on a model before they ship it.

Every network of `fuse_models.py` is given to ONNX Runtime's offline optimisation, to onnxsim,
onnxslim and onnxoptimizer as far as they are installed (`pip install onnxsim onnxslim
onnxoptimizer`), and to `onnx_act.fuse` in its three modes. docs/benchmarks.md says what the
columns mean.

Run: python benchmarks/fuse.py [--time SECONDS] [--net NAME] [--json FILE]

Exit code 1 when a result of ours is not equivalent to the original, or could not be made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
from fuse_models import NETWORKS
from fuse_peers import CONTESTANTS, OURS, PEERS, make, peer_versions
from ratios import THREADS, interval, measured_ratio

import onnx_act
from onnx_act.evidence.machine import busy_warning, cpu_model
from onnx_act.report.document import environment
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.load import optimized_nodes
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TIME_LIMIT_S: Final = 600.0
_HEAD: Final = (
    f"{'':<22}{'nodes':>6}{'loaded':>8}  {'equivalent':<11}{'max abs off':>12}{'max abs on':>12}"
    f"   {'default level':<22}   {'optimiser off':<22}"
)


def _nodes(path: Path) -> int:
    """Nodes of the main graph; constants that are stored as nodes are none."""
    return sum(node.op_type != "Constant" for node in onnx.load(path).graph.node)


def _loaded_nodes(path: Path) -> int:
    return sum(node.op_type != "Constant" for node in optimized_nodes(path))


def _verdict(original: Path, result: Path) -> dict[str, Any]:
    """Whether they compute the same, and how far the result is off at two of the levels."""
    (entry,) = onnx_act.validate(original, result).models
    told = entry.to_dict()["equivalence"]
    levels = [
        level
        for provider in told["providers"]
        for output in provider["outputs"]
        for level in output["levels"]
    ]

    def furthest(at: OptimizationLevel) -> float | None:
        found = [x["max_abs"] for x in levels if x["level"] == at.value]
        # None is what was not finite.
        return None if None in found else max(found, default=None)

    return {
        "equivalent": entry.exit_code == 0,
        "reason": entry.message,
        "feeds": len(told["feeds"]),
        "max_abs_off": furthest(OptimizationLevel.DISABLE),
        "max_abs_on": furthest(OptimizationLevel.ALL),
    }


def measure(contestant: str, source: Path, seconds: float) -> dict[str, Any]:
    """One contestant on one network; what it trips over is a result too, under `failed`."""
    target = source.with_name("result.onnx")
    target.unlink(missing_ok=True)
    if contestant in PEERS and peer_versions()[contestant] is None:
        return {"failed": "not installed"}
    found: dict[str, Any] = {}
    try:
        run_isolated(make, contestant, source, target, timeout_s=_TIME_LIMIT_S)
        found["nodes"] = _nodes(target)
        found |= _verdict(source, target)
        found["loaded"] = _loaded_nodes(target)
        found["ratio"] = measured_ratio(source, target, OptimizationLevel.ALL, seconds)
        found["ratio_off"] = measured_ratio(source, target, OptimizationLevel.DISABLE, seconds)
    except Exception as error:  # noqa: BLE001 - whoever made the file, the table goes on
        # A traceback that comes out of the other process ends with what it was about.
        found["failed"] = str(error).strip().splitlines()[-1] or type(error).__name__
    return found


def _shown(found: dict[str, Any]) -> str:
    """One line of the table."""
    if "equivalent" not in found:
        return f"  {found['failed']}"
    equivalent = "yes" if found["equivalent"] else "NO"
    off, on = (
        "-" if distance is None else f"{distance:.2g}"
        for distance in (found["max_abs_off"], found["max_abs_on"])
    )
    line = f"{found['nodes']:>6}{found.get('loaded', '-'):>8}  {equivalent:<11}{off:>12}{on:>12}"
    if "failed" in found:
        return f"{line}   {found['failed']}"
    return line + "".join(f"   {interval(found[key]):<22}" for key in ("ratio", "ratio_off"))


def compare(
    networks: Sequence[str], folder: Path, seconds: float, *, small: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Print a table for each network as it comes, and yield its figures."""
    source = folder / "original.onnx"
    for net in networks:
        onnx.save(NETWORKS[net](small=small), source)
        print(f"\n{net}\n{_HEAD}")
        results: dict[str, Any] = {}
        for name in CONTESTANTS:
            results[name] = measure(name, source, seconds)
            print(f"{name:<22}{_shown(results[name])}".rstrip(), flush=True)
            reason = results[name].get("reason")
            if reason:
                print(f"{'':<22}  {reason}", flush=True)
        yield net, results


def holds(results: dict[str, dict[str, Any]]) -> bool:
    """Whether everything that is ours was made, ran, and is equivalent."""
    ours = [found[name] for found in results.values() for name in OURS]
    return all(found.get("equivalent") is True and "failed" not in found for found in ours)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--time", type=float, default=3.0, help="seconds for each ratio")
    parser.add_argument("--net", help="only networks with this in their name")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    asked = parser.parse_args(arguments)
    asked.networks = [net for net in NETWORKS if (asked.net or "").lower() in net.lower()]
    if not asked.networks:
        parser.error(f"no network has {asked.net!r} in its name; there are: {', '.join(NETWORKS)}")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each network."""
    asked = _parsed(arguments)
    peers = peer_versions()
    found = environment()
    print(f"ONNX Runtime {found.get('onnxruntime', '?')}, {cpu_model()}, {THREADS} thread")
    there = [f"{name} {number}" for name, number in peers.items() if number is not None]
    if there:
        print(", ".join(there))
    missing = [name for name, number in peers.items() if number is None]
    if missing:
        print(f"not installed, and left out: pip install {' '.join(missing)}")
    warning = busy_warning()
    if warning:
        print(warning)
    with tempfile.TemporaryDirectory(prefix="onnx-act-") as folder:
        results = dict(compare(asked.networks, Path(folder), asked.time))
    if asked.json:
        document = {
            "environment": found,
            "peers": peers,
            "cpu": cpu_model(),
            "threads": THREADS,
            "seconds_per_ratio": asked.time,
            "networks": results,
        }
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
    if holds(results):
        return 0
    print("\na result of ours is not equivalent, or could not be made")
    return 1


if __name__ == "__main__":
    sys.exit(main())
