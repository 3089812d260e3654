"""Tuning beside what else people run on a model before they ship it.

Every network of `tune_models.py` is given to `onnx_act.tune`, to ONNX Runtime's offline
optimisation, and to onnxsim and onnxslim as far as they are installed. Stacks are also measured
with Relu in place of their activation: what an activation that costs nothing would bring.
docs/benchmarks.md says what the columns mean.

Run: python benchmarks/tune.py [--only NAME] [--budget SECONDS] [--time SECONDS]
         [--openvino PYTHON] [--write FILE.md] [--json FILE]

With ONNX_ACT_CORPUS set, networks of the corpus are measured as well. `--openvino` names the
interpreter of another environment that has onnxruntime-openvino. Exit code 1 when a result of
ours is not equivalent to the original, could not be made, or is slower than it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fuse_peers import peer_versions
from ratios import THREADS, measured_ratio
from tune_columns import OTHERS, failure, judged, made_by, on_openvino, spellings, tuned
from tune_models import all_nets
from tune_page import COLUMNS, over_limit, page, shown, targets, ulp

from onnx_act.evidence.machine import busy_warning, cpu_model
from onnx_act.report.document import environment
from onnx_act.runtime.cache import CACHE_VARIABLE
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tune_models import Net

_SLOWEST: Final = 0.98


def measure(
    net: Net,
    folder: Path,
    *,
    budget: float,
    seconds: float,
    openvino: Path | None = None,
    small: bool = False,
) -> dict[str, Any]:
    """One network: a column each; what somebody trips over is a result too, under `failed`."""
    source, target = folder / "original.onnx", folder / "result.onnx"
    net.write(source, small=small)
    results: dict[str, Any] = {"wanted": net.wanted}
    target.unlink(missing_ok=True)
    try:
        told = tuned(source, target, budget)
        results["tune"] = told | judged(source, target, seconds)
        results["spellings"] = spellings(source, results["tune"])
        del results["tune"]["groups"]
    except Exception as error:  # noqa: BLE001 - whatever it is, the table goes on
        results["tune"] = {"failed": failure(error)}
    there = peer_versions()
    for other in OTHERS:
        target.unlink(missing_ok=True)
        if there.get(other, "part of the runtime") is None:
            continue
        try:
            results[other] = made_by(other, source, target, seconds)
        except Exception as error:  # noqa: BLE001 - as above
            results[other] = {"failed": failure(error)}
    if net.write_limit(target, small=small):
        try:
            ratio = measured_ratio(source, target, OptimizationLevel.ALL, seconds)
            results["limit"] = {"equivalent": True, "ratio": ratio}
        except Exception as error:  # noqa: BLE001 - as above
            results["limit"] = {"failed": failure(error)}
    if openvino is not None:
        try:
            results["openvino"] = on_openvino(openvino, source, folder, seconds)
        except Exception as error:  # noqa: BLE001 - as above
            results["openvino"] = {"failed": failure(error)}
    return results


def wrong(nets: dict[str, dict[str, Any]]) -> list[str]:
    """What must not be, of results that are ours."""
    found = []
    for name, results in nets.items():
        ours = results["tune"]
        if "failed" in ours:
            found.append(f"{name}: {ours['failed']}")
        elif not ours["equivalent"]:
            found.append(f"{name} is not equivalent: {ours['reason']}")
        elif ours["ratio"]["high"] < _SLOWEST:
            found.append(f"{name} is slower: {shown(ours)}")
    return found


def _print(name: str, results: dict[str, Any]) -> None:
    """What a reader who watches wants to know of one network."""
    print(f"\n{name}")
    for key, heading in COLUMNS.items():
        if key in results:
            print(f"  {heading:<22}{shown(results[key])}")
    factor = over_limit(results)
    if factor is not None:
        print(f"  {'time / Relu':<22}{factor:.2f}")
    ours = results["tune"]
    if "seconds" in ours:
        told = "" if ours["is_complete"] else ", and more time could show more"
        print(f"  tuned in {ours['seconds']:.1f} s{told} {ours['reason']}".rstrip())
    for row in results.get("spellings", ()):
        after = row["after"] or f"unchanged: {row['reason']}"
        errors = f"p99 {ulp(row['p99_before'])} -> {ulp(row['p99_after'])} ulp"
        print(f"  {row['sites']} {row['before']} -> {after}; {errors}")
    sys.stdout.flush()


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="only networks with this in their name")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of tuning each")
    parser.add_argument("--time", type=float, default=3.0, help="seconds for each ratio")
    parser.add_argument("--openvino", type=Path, help="an interpreter with onnxruntime-openvino")
    parser.add_argument("--write", type=Path, help="a Markdown page with the tables")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    asked = parser.parse_args(arguments)
    corpus = os.environ.get("ONNX_ACT_CORPUS")
    nets = all_nets(None if corpus is None else Path(corpus))
    asked.nets = {name: n for name, n in nets.items() if asked.only.lower() in name.lower()}
    if not asked.nets:
        parser.error(f"no network has {asked.only!r} in its name; there are: {', '.join(nets)}")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    asked = _parsed(arguments)
    warning = busy_warning()
    if warning:
        print(warning)
    nets: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="onnx-act-") as folder:
        # What an earlier run found would be applied, and this one is to show what is found.
        os.environ[CACHE_VARIABLE] = folder
        for name, net in asked.nets.items():
            nets[name] = measure(
                net,
                Path(folder),
                budget=asked.budget,
                seconds=asked.time,
                openvino=asked.openvino,
            )
            _print(name, nets[name])
    document = {
        "environment": environment(),
        "peers": peer_versions(),
        "cpu": cpu_model(),
        "threads": THREADS,
        "budget_s": asked.budget,
        "seconds_per_ratio": asked.time,
        "nets": nets,
    }
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
    if asked.write:
        asked.write.write_text(page(document))
    missed = [f"{n} ({got} of {want})" for n, want, got, is_met in targets(nets) if is_met == "NO"]
    print(f"\nnot as fast as hoped for: {', '.join(missed) or 'none'}")
    failures = wrong(nets)
    for line in failures:
        print(line)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
