"""A whole folder in one batch, with processes among its jobs that end in every bad way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from batch_memory import save_small

TIME_LIMIT: Final = "120s"
_LONG_S: Final = 3600
# Loaded by every Python that is started with it on its path, such as the process of a job.
_MISBEHAVING: Final = f"""
import os, sys, time
if "onnx_act.batch.worker" in " ".join(sys.orig_argv):
    from onnx_act.recipe import convert
    usual = convert.convert_model
    def convert_model(source, target, request, progress=lambda _: None):
        match source.stem:
            case "planted_abort":
                os.abort()
            case "planted_sleeper":
                time.sleep({_LONG_S})
            case "planted_hog":
                held = [bytearray(1 << 28) for _ in range(64)]
            case "planted_victim":
                with open(os.environ["PLANTED_VICTIM"], "w") as told:
                    told.write(str(os.getpid()))
                time.sleep({_LONG_S})
        return usual(source, target, request, progress)
    convert.convert_model = convert_model
"""
EXPECTED: Final = {
    "planted_abort": "crash",
    "planted_sleeper": "timeout",
    "planted_hog": "memory",
    "planted_victim": "crash",
}


def planted(folder: Path, time_limit: str = TIME_LIMIT) -> bool:
    """Whether each model of a folder, and each that was planted, ends with its outcome.

    Args:
        folder: with models.
        time_limit: how long one may take, as `--timeout` takes it.
    """
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        site = scratch / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_MISBEHAVING)
        for k, name in enumerate(EXPECTED):
            save_small(scratch / "planted" / f"{name}.onnx", k)
        out = scratch / "out"
        path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
        started = time.monotonic()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "onnx_act", "convert"),
                *(str(scratch / "planted"), str(folder), "--out-dir", str(out)),
                *("--jobs", "2", "--fuse=portable", "--no-bench", "--threads", "1"),
                *("--timeout", time_limit, "--memory-limit", "4GB"),
            ],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "PLANTED_VICTIM": str(scratch / "pid")},
        )
        asked = (process, scratch / "pid")
        killer = threading.Thread(target=_kill_victim, args=asked, daemon=True)
        killer.start()
        code = process.wait()
        killer.join()
        lines = (out / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
        told = [json.loads(line) for line in lines]
        print(f"{len(told)} outcomes in {time.monotonic() - started:.0f} s, exit code {code}")
        found = {p.name for p in out.rglob("*") if p.name.endswith(".tmp")}
        return _is_as_expected(told, [*folder.rglob("*.onnx")], code) and not found


def _is_as_expected(told: list[dict[str, Any]], models: list[Path], code: int) -> bool:
    for key, count in sorted(
        Counter((t["outcome"], t["exit_code"], t["cause"]) for t in told).items()
    ):
        print(f"  {count:4d}  {key[0]}, exit code {key[1]}{', ' + key[2] if key[2] else ''}")
    stems = {Path(t["path"]).stem: t for t in told}
    is_right = Counter(t["path"] for t in told).most_common(1)[0][1] == 1
    is_right &= len(told) == len(models) + len(EXPECTED)
    for name, cause in EXPECTED.items():
        print(f"  {name}: {stems[name]['message']}")
        is_right &= stems[name]["cause"] == cause
    others = [t for t in told if Path(t["path"]).stem not in EXPECTED and t["cause"]]
    for each in others:
        print(f"  not planted: {each['path']}: {each['message']}")
    worst = max(t["exit_code"] for t in told)
    return is_right and not others and code == worst


def _kill_victim(batch: subprocess.Popen[bytes], told: Path) -> None:
    """Kill the process of a job as soon as it says which one it is."""
    while batch.poll() is None:
        pid = told.read_text(encoding="ascii") if told.exists() else ""
        if pid:
            os.kill(int(pid), signal.SIGKILL)
            return
        time.sleep(0.1)
