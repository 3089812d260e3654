"""Reports made up to hold everything, with names that a table does not take kindly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from onnx_act.report.document import ModelEntry, Outcome, Report

AWKWARD = "a|b [bold]<i>\n*x* `c`"


@dataclass(frozen=True)
class Given:
    """Plain data as a part of a report."""

    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.data


SITE = Given(
    {
        "id": AWKWARD,
        "activation": "prelu",
        "parameters": {"slope": [[[0.1]], [[0.2]]]},
        "formula": "max(x, 0)",
        "scope": "",
        "operators": ["PRelu"],
        "producer": AWKWARD,
        "consumers": ["Conv", "(output)"],
        "spelling": "operator",
        "role": "main",
        "depth": 0,
        "index": 0,
    }
)
UNKNOWN = Given(
    {**SITE.data, "activation": "unknown", "formula": "max(x, 0) | x", "parameters": {}}
)
CHANGE = Given(
    {"rule": "swap_activation", "site": AWKWARD, "before": "relu", "after": "elu(alpha=0.5)"}
)
REFUSAL = Given(
    {"rule": "fuse_conv_activation", "site": "s", "activation": "elu", "reason": AWKWARD}
)
LEFT = Given(
    {
        "rule": "fuse_conv_activation",
        "site": "s",
        "activation": "",
        "reason": "Conv, Relu -> Conv[Relu] when the runtime loads the model",
        "left_to_runtime": True,
    }
)
CHECK = Given(
    {
        "activation": "elu",
        "written": "elu(alpha=0.5) (Elu)",
        "provider": "cpu",
        "passed": True,
        "max_abs": 1e-7,
        "allowed": 1e-6,
        "count": 4,
        "differs_at": [],
    }
)
DIFFERENT_CHECK = Given({**CHECK.data, "written": "elu (Elu)", "differs_at": ["nan", "-inf"]})


def output(name: str, *, passed: bool = True, max_abs: float | None = 1e-6) -> dict[str, Any]:
    return {
        "output": name,
        "passed": passed,
        "max_abs": max_abs,
        "minimum_tolerance": 0.5 if passed else 12.0,
        "noise_floor": {"max_abs": 1e-6},
        "max_rel": 2e-3,
        "tolerance": {"atol": 1e-6, "rtol": 1e-6, "spread": None},
        "minimum_atol": 1e-7,
        "is_given": False,
        "difference": _difference(identical=False),
        "change_difference": None,
        "provider_difference": None,
        "total_difference": None,
    }


def _difference(*, identical: bool) -> dict[str, Any]:
    return {
        "identical": identical,
        "max_abs": 0.0 if identical else 1e-6,
        "max_rel": 2e-3,
        "sqnr_db": None if identical else 100.0,
        "cosine": 1.0,
        "ulp_p50": 0.0,
        "ulp_p99": 3.0,
        "ulp_max": 17.0,
        "nan_agrees": True,
        "inf_agrees": False,
        "worst_feed": 2,
        "worst_index": [0, 3],
        "worst_reference": 1.0,
        "worst_candidate": 1.000001,
        "top1": {"agreed": 3, "total": 4, "rate": 0.75, "low": 0.3, "high": 0.95},
    }


def output_elsewhere(name: str) -> dict[str, Any]:
    """An output on another provider than the CPU, where the difference is the provider's."""
    return {
        **output(name),
        "is_given": True,
        "change_difference": _difference(identical=True),
        "provider_difference": _difference(identical=False),
        "total_difference": _difference(identical=False),
    }


def equivalence(*outputs: dict[str, Any], reason: str = "") -> Given:
    provider = {
        "provider": "CPUExecutionProvider",
        "passed": not reason,
        "reason": reason,
        "outputs": list(outputs),
        "candidate_elsewhere": [],
        "notes": [],
    }
    return Given({"passed": not reason, "reason": reason, "providers": [provider]})


DRIFT = Given(
    {
        "outputs": [
            {
                "output": AWKWARD,
                "difference": {
                    "max_abs": 0.5,
                    "mean_abs": None,
                    "identical": False,
                    "sqnr_db": 20.0,
                    "cosine": 0.99,
                    "top1": {"agreed": 9, "total": 10},
                },
                "accuracy_before": {"agreed": 10, "total": 10},
                "accuracy_after": {"agreed": 9, "total": 10},
            },
            {
                "output": "other",
                "difference": None,
                "accuracy_before": None,
                "accuracy_after": None,
            },
        ]
    }
)
_TIMING = {"median_s": 1.5e-3, "p90_s": 2e-3, "p99_s": 3e-3}
LATENCY = Given(
    {
        "provider": "CPUExecutionProvider",
        "a": _TIMING,
        "b": {**_TIMING, "median_s": 1.0e-3},
        "ratio": {
            "median": 1.5,
            "low": 1.4,
            "high": 1.6,
            "verdict": "faster",
            "resolution": 0.01,
        },
        "warnings": ["the machine is busy | very"],
    }
)

DONE = ModelEntry(
    path="models/[a|b].onnx",
    output="out.onnx",
    notes=("a note | with a pipe",),
    sites=(SITE, SITE, UNKNOWN),
    changes=(CHANGE, CHANGE),
    refusals=(REFUSAL, LEFT, LEFT),
    checks=(CHECK,),
    equivalence=equivalence(output("y|z")),
    drift=DRIFT,
    latency=(LATENCY,),
    size={"bytes_before": 1000, "bytes_after": 900, "nodes_before": 10, "nodes_after": 8},
)
REFUSED = ModelEntry(
    path="b.onnx",
    outcome=Outcome.REFUSED,
    exit_code=2,
    message="every site that was asked for was refused; nothing was written",
    sites=(SITE,),
    changes=(),
    refusals=(REFUSAL,),
)
FAILED = replace(
    DONE,
    outcome=Outcome.FAILED,
    exit_code=1,
    output=None,
    message="not equivalent: on cpu: output 'y' differs",
    equivalence=equivalence(output("x"), output("y", passed=False), reason="output 'y' differs"),
    latency=None,
)
CRASHED = replace(FAILED, equivalence=equivalence(reason="the candidate does not run"), drift=None)
FORCED = replace(FAILED, outcome=Outcome.DONE, output="out.onnx")
DRY = ModelEntry(
    path="c.onnx",
    notes=("dry run: nothing was written",),
    sites=(),
    changes=(CHANGE,),
    refusals=(),
)
UNREADABLE = ModelEntry(
    path="d.onnx", outcome=Outcome.FAILED, exit_code=3, message="d.onnx: not an ONNX model"
)
ENTRIES = {
    "done": DONE,
    "refused": REFUSED,
    "failed": FAILED,
    "crashed": CRASHED,
    "forced": FORCED,
    "dry": DRY,
    "unreadable": UNREADABLE,
}
EVERYTHING = Report("convert", tuple(ENTRIES.values()), ("convert", "a.onnx"))
