"""What a recipe file may say. Every field is the option of `onnx-act convert` of the same name.

The models here describe the file and nothing more: no path in it is opened and no provider is
asked, so that a recipe can be checked on a machine that could not run it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from onnx_act.activations.catalogue import find
from onnx_act.errors import UsageError
from onnx_act.graph.selectors import parse_selector
from onnx_act.recipe.bounds import bounds_from
from onnx_act.recipe.inputs import parse_ranges
from onnx_act.recipe.option_values import parse_duration, parse_shapes
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.swap_request import split_swap
from onnx_act.runtime.images import parse_normalization
from onnx_act.runtime.target import resolve_provider

if TYPE_CHECKING:
    from collections.abc import Callable

#: The steps of a conversion, in the order in which they can be judged.
KINDS: Final = ("opset", "undo", "swap", "fuse", "tune")
#: Fields that say how a step is done -> the field that asks for the step.
NEEDS: Final = {
    "where": "swap",
    "optional": "swap",
    "max_growth": "fuse",
    "budget": "tune",
    "allow_contrib": "tune",
    "allow_approximate": "tune",
    "profile": "tune",
    "save_profile": "tune",
}
#: Options that say where one run reads and writes, and what it dares: no part of a recipe.
OF_ONE_RUN: Final = frozenset(
    {
        "output",
        "out_dir",
        "report",
        "format",
        "recipe",
        "save_recipe",
        "dry_run",
        "force",
        "baseline",
        "baseline_bound",
        "jobs",
        "memory_limit",
        "outcomes",
        "retry",
        "dask",
    }
)
#: By this a JSON file tells editors what describes it; it says nothing of the conversion.
SCHEMA_KEY: Final = "$schema"
_TEXT_OR_TEXTS: Final = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}
_DURATION: Final = {
    "anyOf": [
        {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)?$"},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
_SWAP: Final = {
    "type": "object",
    "properties": {
        "from": {"type": "string"},
        "to": {"type": "string"},
        "parameters": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string"}]},
        },
    },
    "required": ["from", "to"],
    "additionalProperties": False,
}
_SWAP_OR_TEXT: Final = {"anyOf": [{"type": "string"}, _SWAP]}


def _checked(check: Callable[[Any], Any]) -> BeforeValidator:
    """A validator of ours, whose messages are ours too."""

    def run(value: Any) -> Any:
        try:
            return check(value)
        except UsageError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(run)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


def _swap(value: Any) -> Any:
    """A swap as a table, which may have been written as text."""
    if not isinstance(value, str):
        return value
    source, target, given = split_swap(value)
    return {"from": source, "to": target, "parameters": given}


def _activation(value: Any) -> Any:
    if isinstance(value, str):
        find(value)
    return value


def _parameter(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"a parameter is a number or text, not {value!r}")
    return value


def _selector(value: Any) -> Any:
    if isinstance(value, str):
        parse_selector(value)
    return value


def _mode(value: Any) -> Any:
    if isinstance(value, bool):
        return FuseMode.AUTO if value else FuseMode.NONE
    if not isinstance(value, str):
        raise UsageError(f"takes {', '.join(FuseMode)}, true or false, not {value!r}")
    return FuseMode.parse(value, "fuse")


def _duration(option: str) -> BeforeValidator:
    def seconds(value: Any) -> Any:
        if isinstance(value, str):
            return parse_duration(value, option)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not 0 < value < math.inf:
            raise UsageError(f"{option} takes a time such as 30s or 5m, not {value!r}")
        return value

    return _checked(seconds)


def _provider(value: Any) -> Any:
    if isinstance(value, str):
        resolve_provider(value)
    return value


def _shape(value: Any) -> Any:
    if isinstance(value, str):
        parse_shapes([value])
    return value


def _range(value: Any) -> Any:
    if isinstance(value, str):
        parse_ranges([value])
    return value


def _normalization(value: Any) -> Any:
    if isinstance(value, str):
        parse_normalization(value)
    return value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Swap(_Table):
    """One exchange: `FROM=TO:name=value` as text, or this table."""

    source: Annotated[str, _checked(_activation)] = Field(alias="from")
    target: Annotated[str, _checked(_activation)] = Field(alias="to")
    parameters: dict[str, Annotated[float | str, _checked(_parameter)]] = Field(
        default={}, description="Of the new activation; text @FILE.npz gives arrays."
    )


class Step(_Table):
    """What one step does: exactly one of opset, undo, swap, fuse and tune, and how."""

    opset: int | None = Field(None, description="Raise the model to this opset.", ge=1)
    undo: bool | None = Field(None, description="Take fused operators apart.")
    swap: Annotated[
        list[Annotated[Swap, _checked(_swap), WithJsonSchema(_SWAP_OR_TEXT)]] | None,
        BeforeValidator(_listed),
        WithJsonSchema({"anyOf": [_SWAP_OR_TEXT, {"type": "array", "items": _SWAP_OR_TEXT}]}),
    ] = Field(None, description="FROM=TO:name=value, or a table with from, to and parameters.")
    where: Annotated[
        list[Annotated[str, _checked(_selector)]] | None,
        BeforeValidator(_listed),
        WithJsonSchema(_TEXT_OR_TEXTS),
    ] = Field(None, description="Selectors of the sites to swap; all must hold.")
    optional: bool | None = Field(
        None, description="Whether it is no error that there is nothing to swap."
    )
    fuse: Annotated[
        FuseMode | None,
        _checked(_mode),
        WithJsonSchema({"anyOf": [{"enum": [m.value for m in FuseMode]}, {"type": "boolean"}]}),
    ] = Field(None, description="How far to fold and fuse.")
    max_growth: float | None = Field(
        None, description="How many times as large copied weights may make the file.", ge=1
    )
    tune: bool | None = Field(None, description="Look for faster ways to write what is left.")
    budget: Annotated[float | None, _duration("budget"), WithJsonSchema(_DURATION)] = Field(
        None, description="How long tuning may take: 60s, 5m, or seconds."
    )
    allow_contrib: bool | None = Field(None, description="Tune with com.microsoft too.")
    allow_approximate: bool | None = Field(
        None, description="Tune with formulas that round worse than the operator too."
    )
    profile: str | None = Field(None, description="What tuning found elsewhere, to be applied.")
    save_profile: str | None = Field(None, description="Where to write what tuning measured.")


class Limits(_Table):
    """Bounds that must hold; see docs/recipes.md for what each is held against."""

    max_abs: float | None = None
    min_sqnr_db: float | None = None
    min_speedup: float | None = None
    min_accuracy: float | None = None
    max_latency_p99_ms: float | None = None

    @field_validator("*")
    @classmethod
    def _can_be_kept(cls, limit: float | None, about: ValidationInfo) -> float | None:
        if limit is not None and about.field_name is not None:
            try:
                bounds_from({about.field_name: limit})
            except UsageError as error:
                raise ValueError(str(error)) from None
        return limit


class Recipe(Step):
    """One conversion: either the fields of steps right here, or a list of steps."""

    reason: str = Field("", description="What it is for, and why it does what it does.")
    step: list[Step] = Field(default=[], description="What is done, in order.")
    provider: Annotated[
        list[Annotated[str, _checked(_provider)]] | None,
        BeforeValidator(_listed),
        WithJsonSchema(_TEXT_OR_TEXTS),
    ] = Field(None, description="What the result must run on.")
    data: str | None = Field(None, description="Real inputs, relative to this file.")
    shape: Annotated[
        list[Annotated[str, _checked(_shape)]] | None,
        BeforeValidator(_listed),
        WithJsonSchema(_TEXT_OR_TEXTS),
    ] = Field(None, description="NAME:1,3,224,224 of inputs whose dimensions are free.")
    input_range: Annotated[
        list[Annotated[str, _checked(_range)]] | None,
        BeforeValidator(_listed),
        WithJsonSchema(_TEXT_OR_TEXTS),
    ] = Field(None, description="NAME:LOW,HIGH of inputs that are generated between these.")
    normalize: Annotated[str | None, _checked(_normalization)] = Field(
        None, description="What becomes of the pixels of images: 0..1, -1..1, imagenet, ..."
    )
    seed: int | None = Field(None, description="Seeds generated inputs.", ge=0)
    threads: int | None = Field(None, description="Threads within an operator.", ge=0)
    is_validated: bool | None = Field(
        None, alias="validate", description="Run both models and judge equivalence."
    )
    bench: bool | None = Field(None, description="Measure the latency of both models.")
    time: Annotated[float | None, _duration("time"), WithJsonSchema(_DURATION)] = Field(
        None, description="How long to measure, per provider: 5s, or seconds."
    )
    strict_placement: bool | None = Field(
        None, description="Fail when a node runs elsewhere than on the provider named."
    )
    timeout: Annotated[float | None, _duration("timeout"), WithJsonSchema(_DURATION)] = Field(
        None, description="How long one piece of evidence may take."
    )
    bound: Limits | None = Field(None, description="What the evidence must keep.")
    files: dict[str, str] = Field(
        default={}, description="Paths in this file -> sha256 of what was there: must be the same."
    )
    measured: dict[str, float] = Field(
        default={}, description="Speedups that were measured before: not to be measured again."
    )


def json_schema() -> dict[str, Any]:
    """The schema for editors, as plain data."""
    found = Recipe.model_json_schema(by_alias=True)
    found["properties"] = {SCHEMA_KEY: {"type": "string"}, **found["properties"]}
    return {
        SCHEMA_KEY: "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "onnx-act recipe",
    }


FieldKind = Literal["recipe", "step", "bound", "swap"]
TABLES: Final[dict[FieldKind, type[BaseModel]]] = {
    "recipe": Recipe,
    "step": Step,
    "bound": Limits,
    "swap": Swap,
}


def field_names(kind: FieldKind) -> tuple[str, ...]:
    """The keys that a table of a recipe may have, as they are written."""
    return tuple(f.alias or n for n, f in TABLES[kind].model_fields.items())
