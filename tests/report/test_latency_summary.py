"""What is said of latency, on figures that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_act.report.latency_summary import (
    latency_notes,
    latency_tables,
    operator_notes,
    operator_tables,
)

_TIMING = {
    "median_s": 1.5e-3,
    "p90_s": 2e-3,
    "p99_s": 3e-3,
    "min_s": 1e-3,
    "creation_s": 0.02,
    "copying_s": None,
    "peak_memory_bytes": 67_300_000,
    "model_memory_bytes": 1_200_000_000,
    "file_bytes": 512,
}
_ONE: dict[str, Any] = {
    "provider": "CPUExecutionProvider",
    "threads": 0,
    "a": _TIMING,
    "b": None,
    "ratio": None,
    "warnings": [],
    "level": "all",
    "batch": None,
    "affinity": [0, 3],
    "cpu": "Some CPU",
    "runtime_version": "1.2.3",
    "precision": 0.005,
    "is_precise": True,
}
_RATIO = {"median": 1.5, "low": 1.4, "high": 1.6, "verdict": "faster", "resolution": 0.01}
_TWO = {**_ONE, "b": {**_TIMING, "median_s": 1e-3, "peak_memory_bytes": None}, "ratio": _RATIO}


def test_one_setting_has_times_and_sizes() -> None:
    (times, sizes) = latency_tables([_TWO])
    assert times[2][1] == ("cpu", "result", "1 ms", "2 ms", "3 ms", "1.500x [1.400, 1.600] faster")
    title, names, rows = sizes
    assert title == "memory and size"
    assert names[-3:] == ("peak memory", "of the model", "file")
    assert rows[0] == ("cpu", "original", "1 ms", "20 ms", "67.3 MB", "1.2 GB", "512 bytes")
    assert rows[1][4] == "-"


def test_sizes_that_nobody_asked_for_are_no_table() -> None:
    assert len(latency_tables([{**_ONE, "a": {**_TIMING, "file_bytes": None}}])) == 1


def test_two_providers_are_no_table_of_settings() -> None:
    other = {**_ONE, "provider": "CUDAExecutionProvider"}
    assert [t[0] for t in latency_tables([_ONE, other])] == ["latency", "memory and size"]


def test_several_settings_are_one_table() -> None:
    settings = [{**_TWO, "threads": n, "batch": 8} for n in (0, 2)]
    ((title, names, rows),) = latency_tables(settings)
    assert title == "latency by setting"
    assert names == ("on", "level", "threads", "rows", "original", "result", "original / result")
    assert [row[:6] for row in rows] == [
        ("cpu", "all", "default", "8", "1.5 ms", "1 ms"),
        ("cpu", "all", "2", "8", "1.5 ms", "1 ms"),
    ]
    ((_, names, rows),) = latency_tables([{**_ONE, "threads": n} for n in (1, 2)])
    assert names[-1] == "median"
    assert {len(row) for row in rows} == {len(names)}


def test_conditions_are_said() -> None:
    where = "at level all, threads default on 2 processors (Some CPU)"
    assert latency_notes([_ONE]) == [
        f"measured {where}, with ONNX Runtime 1.2.3",
        "stopped early: known to 0.5 % to either side",
    ]
    alone = {**_ONE, "affinity": None, "is_precise": False}
    assert latency_notes([alone]) == [
        "measured at level all, threads default (Some CPU), with ONNX Runtime 1.2.3"
    ]


def test_of_several_settings_each_thing_is_said_once() -> None:
    busy = [{**_ONE, "threads": n, "warnings": [f"the machine is busy (load {n})"]} for n in (1, 2)]
    assert latency_notes(busy) == [
        "measured on 2 processors (Some CPU), with ONNX Runtime 1.2.3",
        "the machine is busy (load 1)",
    ]


def test_copies_to_a_device_are_told_apart() -> None:
    notes = latency_notes([{**_ONE, "a": {**_TIMING, "copying_s": 2e-3}}])
    assert any("copies to and from the device" in n and n.endswith("model 2 ms") for n in notes)


def _times(**more: Any) -> dict[str, Any]:
    return {
        "operators": [
            {"op_type": f"Op{k}", "count": 1, "time_s": 1e-3 / (k + 1), "share": 0.05}
            for k in range(14)
        ],
        "sites": 3,
        "activation_share": 0.25,
        "unknown_sites": 0,
        "layout_share": 0.1,
        "layout_count": 2,
        "kernels": [],
        **more,
    }


@pytest.mark.parametrize("two", [False, True])
def test_operators_are_listed_and_the_rest_is_summed(two: bool) -> None:
    other = _times(operators=[{"op_type": "New", "count": 2, "time_s": 1.0, "share": 1.0}])
    entry = {"provider": "CPUExecutionProvider", "a": _times(), "b": other if two else None}
    ((title, names, rows),) = operator_tables([entry])
    assert title == "time by operator on cpu"
    assert {len(row) for row in rows} == {len(names)} == {7 if two else 4}
    assert len(rows) == 13
    if two:
        assert rows[0] == ("New", "-", "-", "-", "2", "1 s", "100.0 %")
        assert rows[-1] == ("3 others", "3", "232 us", "15.0 %", "-", "-", "-")
    else:
        assert rows[0] == ("Op0", "1", "1 ms", "5.0 %")
        assert rows[-1] == ("2 others", "2", "148 us", "10.0 %")


def test_kernels_of_a_device_have_a_table_of_their_own() -> None:
    kernels = [{"op_type": "Conv", "count": 3, "time_s": 1e-3, "share": 1.0}]
    times = _times(kernels=kernels)
    entry = {"provider": "CUDAExecutionProvider", "a": times, "b": None}
    titles = [table[0] for table in operator_tables([entry])]
    assert titles == ["time by operator on cuda", "time of the device's own kernels on cuda"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, ["of their own take 25.0 % of the time", "2 changes of layout take 10.0 %"]),
        (
            {"activation_share": None, "unknown_sites": 1, "layout_count": 1},
            ["does not tell what one activation of 3 cost", "1 change of layout takes 10.0 %"],
        ),
        ({"activation_share": None, "unknown_sites": 2, "layout_count": 0}, ["2 activations of 3"]),
        ({"sites": 0, "layout_count": 0}, []),
    ],
)
def test_what_activations_and_layout_cost(more: dict[str, Any], said: list[str]) -> None:
    entry = {"provider": "CPUExecutionProvider", "a": _times(**more), "b": None}
    notes = operator_notes([entry])
    assert len(notes) == len(said)
    for note, part in zip(notes, said, strict=True):
        assert note.startswith("model on cpu: ")
        assert part in note
