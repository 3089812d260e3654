"""Folding and fusing beside what else people run on a model before they ship it.

Every network of `fuse_models.py` is given to ONNX Runtime's offline optimisation, to onnxsim,
onnxslim and onnxoptimizer as far as they are installed (`pip install onnxsim onnxslim
onnxoptimizer`), and to `onnx_act.fuse` in its three modes. Shown are: nodes in the file, nodes
after the runtime loaded it at its default level, the verdict of `onnx_act.validate` against the
original, and the latency ratio original / result with its 95 % interval, one thread, in turn, at
the runtime's default level and with its optimiser off.

Run: python benchmarks/fuse.py [--time SECONDS] [--net NAME] [--json FILE]

Exit code 1 when a result of ours is not equivalent.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnxruntime
from fuse_models import NETWORKS

import onnx_act
from onnx_act.evidence.latency import measure_latency
from onnx_act.runtime.load import optimized_nodes
from onnx_act.runtime.session import CPU, OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = ("portable", "auto", "contrib")


def runtime_offline(source: Path, target: Path) -> None:
    """What ONNX Runtime saves at the highest level that is not bound to one machine."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=[CPU])


def onnxsim(source: Path, target: Path) -> None:
    """The defaults of onnxsim."""
    simplified, _ = importlib.import_module("onnxsim").simplify(onnx.load(source))
    onnx.save(simplified, target)


def onnxslim(source: Path, target: Path) -> None:
    """The defaults of onnxslim."""
    onnx.save(importlib.import_module("onnxslim").slim(onnx.load(source)), target)


def onnxoptimizer(source: Path, target: Path) -> None:
    """All passes of onnxoptimizer that fuse or eliminate."""
    module = importlib.import_module("onnxoptimizer")
    passes = module.get_fuse_and_elimination_passes()
    onnx.save(module.optimize(onnx.load(source), passes), target)


def _ours(mode: str) -> Callable[[Path, Path], None]:
    def run(source: Path, target: Path) -> None:
        onnx_act.fuse(source, target, fuse=mode, validate=False)

    return run


CONTESTANTS: dict[str, Callable[[Path, Path], None]] = {
    "ONNX Runtime offline": runtime_offline,
    "onnxsim": onnxsim,
    "onnxslim": onnxslim,
    "onnxoptimizer": onnxoptimizer,
    **{f"onnx-act {mode}": _ours(mode) for mode in OURS},
}


def _loaded_nodes(path: Path) -> int:
    return sum(node.op_type != "Constant" for node in optimized_nodes(path))


def _nodes(path: Path) -> int:
    return sum(node.op_type != "Constant" for node in onnx.load(path).graph.node)


def _ratio(original: Path, result: Path, level: OptimizationLevel, seconds: float) -> list[float]:
    ratio = measure_latency(original, result, seconds=seconds, threads=1, level=level).ratio
    assert ratio is not None
    return [ratio.median, ratio.low, ratio.high]


def measure(name: str, source: Path, seconds: float) -> dict[str, Any]:
    """One contestant on one network."""
    target = source.with_name("result.onnx")
    target.unlink(missing_ok=True)
    try:
        with redirect_stdout(StringIO()):
            CONTESTANTS[name](source, target)
    except ImportError:
        return {"failed": "not installed"}
    except Exception as error:  # noqa: BLE001 - what a peer trips over is a result
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:60]}
    verdict = onnx_act.validate(source, target).models[0]
    return {
        "nodes": _nodes(target),
        "loaded": _loaded_nodes(target),
        "equivalent": verdict.exit_code == 0,
        "ratio": _ratio(source, target, OptimizationLevel.ALL, seconds),
        "ratio_off": _ratio(source, target, OptimizationLevel.DISABLE, seconds),
    }


def _shown(found: dict[str, Any]) -> str:
    if "failed" in found:
        return str(found["failed"])
    ratios = ("{:.3f} [{:.3f}, {:.3f}]".format(*found[key]) for key in ("ratio", "ratio_off"))
    equivalent = "yes" if found["equivalent"] else "NO"
    columns = f"{found['nodes']:>6}{found['loaded']:>8}  {equivalent:<10}"
    return columns + "".join(f"  {text:<22}" for text in ratios)


def main() -> int:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=float, default=3.0, help="seconds for each ratio")
    parser.add_argument("--net", help="only networks with this in their name")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    asked = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "original.onnx"
        for net, make in NETWORKS.items():
            if asked.net and asked.net not in net:
                continue
            onnx.save(make(small=False), source)
            print(f"\n{net}: {_nodes(source)} nodes, {_loaded_nodes(source)} when loaded")
            head = f"{'':<22}{'nodes':>6}{'loaded':>8}  {'equivalent':<10}"
            print(f"{head}  {'default level':<22}  {'optimiser off':<22}")
            found = results[net] = {}
            for name in CONTESTANTS:
                found[name] = measure(name, source, asked.time)
                print(f"{name:<22}{_shown(found[name])}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))
    ours = [r[f"onnx-act {mode}"] for r in results.values() for mode in OURS]
    return 0 if all(found.get("equivalent") for found in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
