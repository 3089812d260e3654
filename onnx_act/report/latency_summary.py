"""Latency, and what else running a model takes, counted and worded for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from onnx_act.report.summary import duration, latency_rows, ratio_text, short_provider

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Columns = tuple[str, ...]
    Rows = list[tuple[str, ...]]
    Table = tuple[str, Columns, Rows]

_MOST_OPERATORS: Final = 12
_NAMES: Final = ("on", "model", "median", "p90", "p99", "original / result")
_SIZES: Final = ("on", "model", "min", "opening", "peak memory", "of the model", "file")


def latency_tables(latency: Sequence[dict[str, Any]]) -> list[Table]:
    """Title, column names and rows of every table about times."""
    if _is_table(latency):
        return [("latency by setting", *_by_setting(latency))]
    tables: list[Table] = [("latency", _NAMES, latency_rows(latency))]
    sizes = [row for entry in latency for row in _size_rows(entry)]
    if sizes:
        tables.append(("memory and size", _SIZES, sizes))
    return tables


def setting_text(latency: dict[str, Any]) -> str:
    """What was set apart from the runtime's defaults, in brackets; "" where nothing was."""
    said = []
    if latency.get("level", "all") != "all":
        said.append(f"level {latency['level']}")
    if latency.get("threads"):
        said.append(f"threads {latency['threads']}")
    if latency.get("batch") is not None:
        said.append(f"rows {latency['batch']}")
    return f" ({', '.join(said)})" if said else ""


def operator_tables(operators: Sequence[dict[str, Any]]) -> list[Table]:
    """The same of where the time goes, by operator; one for every provider."""
    found: list[Table] = []
    for entry in operators:
        found.append((f"time by operator on {_where(entry)}", *_operator_table(entry, "operators")))
        if entry["a"]["kernels"]:
            title = f"time of the device's own kernels on {_where(entry)}"
            found.append((title, *_operator_table(entry, "kernels")))
    return found


def latency_notes(latency: Sequence[dict[str, Any]]) -> list[str]:
    """What was measured under, and what makes it doubtful; each sentence once."""
    table = _is_table(latency)
    said = [line for entry in latency for line in _conditions(entry, table=table)]
    warnings = [warning for entry in latency for warning in entry["warnings"]]
    # How busy it was changes from one measurement to the next; once is enough to know.
    kinds = {warning.partition("(")[0]: warning for warning in reversed(warnings)}
    return list(dict.fromkeys([*said, *reversed(kinds.values())]))


def operator_notes(operators: Sequence[dict[str, Any]]) -> list[str]:
    """Shares of activations and of changes of layout, per provider and model."""
    return [
        f"{label} on {_where(entry)}: {line}"
        for entry in operators
        for label, times in _models(entry)
        for line in (_activation_line(times), _layout_line(times))
        if line
    ]


def _is_table(latency: Sequence[dict[str, Any]]) -> bool:
    counts = Counter(entry["provider"] for entry in latency)
    return any(count > 1 for count in counts.values())


def _by_setting(latency: Sequence[dict[str, Any]]) -> tuple[Columns, Rows]:
    two = any(entry["b"] is not None for entry in latency)
    setting_names = ("on", "level", "threads", "rows")
    rows: Rows = []
    for entry in latency:
        setting = (
            short_provider(entry["provider"]),
            entry["level"],
            _threads(entry["threads"]),
            "-" if entry["batch"] is None else str(entry["batch"]),
        )
        medians = [duration(t["median_s"]) for t in (entry["a"], entry["b"]) if t is not None]
        ratio = [ratio_text(entry["ratio"])] if two else []
        rows.append((*setting, *medians, *ratio))
    measured = ("original", "result", "original / result") if two else ("median",)
    return (*setting_names, *measured), rows


def _size_rows(entry: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for label, timing in _models(entry):
        if timing.get("file_bytes") is None:
            continue
        yield (
            short_provider(entry["provider"]),
            label,
            duration(timing["min_s"]),
            duration(timing["creation_s"]),
            _bytes(timing["peak_memory_bytes"]),
            _bytes(timing["model_memory_bytes"]),
            _bytes(timing["file_bytes"]),
        )


def _conditions(entry: dict[str, Any], *, table: bool) -> Iterator[str]:
    """Nothing of measurements that do not tell, such as those that are made up for a test."""
    if "level" not in entry:
        return
    processors = entry["affinity"]
    where = "" if processors is None else f" on {_processors(len(processors))}"
    setting = f" at level {entry['level']}, threads {_threads(entry['threads'])}"
    yield (
        f"measured{'' if table else setting}{where} ({entry['cpu']}), "
        f"with ONNX Runtime {entry['runtime_version']}"
    )
    copying = [(label, t["copying_s"]) for label, t in _models(entry) if t["copying_s"] is not None]
    if copying:
        told = ", ".join(f"{label} {duration(seconds)}" for label, seconds in copying)
        yield (
            f"times are without the copies to and from the device; a run with them takes, in the "
            f"median: {told}"
        )
    if entry["is_precise"] and not table:
        yield f"stopped early: known to {100 * entry['precision']:g} % to either side"


def _operator_table(entry: dict[str, Any], key: str) -> tuple[Columns, Rows]:
    models = [{o["op_type"]: o for o in times[key]} for _, times in _models(entry)]
    cost = {
        name: max(model[name]["time_s"] for model in models if name in model)
        for name in dict.fromkeys(name for model in models for name in model)
    }
    shown = sorted(cost, key=lambda name: (-cost[name], name))[:_MOST_OPERATORS]
    rows = [
        (name, *(cell for m in models for cell in _operator_cells(m.get(name)))) for name in shown
    ]
    if len(cost) > len(shown):
        rest = [[o for name, o in model.items() if name not in shown] for model in models]
        cells = [cell for others in rest for cell in _operator_cells(_together(others))]
        rows.append((f"{len(cost) - len(shown)} others", *cells))
    columns = ("count", "time", "share")
    if len(models) == 1:
        return ("operator", *columns), rows
    labels = [label for label, _ in _models(entry)]
    return ("operator", *(f"{c}, {label}" for label in labels for c in columns)), rows


def _together(operators: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: sum(o[key] for o in operators) for key in ("count", "time_s", "share")}


def _operator_cells(operator: dict[str, Any] | None) -> tuple[str, str, str]:
    if operator is None or not operator["count"]:
        return "-", "-", "-"
    share = f"{100 * operator['share']:.1f} %"
    return str(operator["count"]), duration(operator["time_s"]), share


def _activation_line(times: dict[str, Any]) -> str:
    if not times["sites"]:
        return ""
    if times["activation_share"] is None:
        count = times["unknown_sites"]
        which = "one activation" if count == 1 else f"{count} activations"
        return f"the profile does not tell what {which} of {times['sites']} cost"
    return (
        f"activations that are operators of their own take {100 * times['activation_share']:.1f} % "
        f"of the time"
    )


def _layout_line(times: dict[str, Any]) -> str:
    if not times["layout_count"]:
        return ""
    count = times["layout_count"]
    what = "1 change of layout takes" if count == 1 else f"{count} changes of layout take"
    return f"{what} {100 * times['layout_share']:.1f} % of the time"


def _models(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if entry["b"] is None:
        return [("model", entry["a"])]
    return [("original", entry["a"]), ("result", entry["b"])]


def _where(entry: dict[str, Any]) -> str:
    return short_provider(entry["provider"])


def _threads(count: int) -> str:
    return "default" if count == 0 else str(count)


def _processors(count: int) -> str:
    return "1 processor" if count == 1 else f"{count} processors"


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
