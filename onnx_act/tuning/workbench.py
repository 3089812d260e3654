"""The models that tuning measures: the whole model and neighbourhoods, written in other ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.graph.excerpt import neighbourhood
from onnx_act.graph.model import load_model
from onnx_act.graph.store import serialised, stage_temporarily
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.flatten_matmul import FlattenMatMul
from onnx_act.rewrite.respell_activation import RespellActivation
from onnx_act.tuning.outcome import FLATTENED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.graph.store import StagedModel
    from onnx_act.rewrite.rule import Capabilities, Rule
    from onnx_act.tuning.grouping import SiteGroup

# A neighbourhood that is larger than this goes to the measuring process too slowly, once per way.
_MOST_BYTES: Final = 1 << 26


class Workbench:
    """Builds trials of one model.

    Args:
        model: the model; never touched.
        targets: what trials must run on.
        folder: for the files of trials.
        stack: what keeps them.
    """

    def __init__(
        self, model: OnnxModel, targets: Capabilities, folder: Path, stack: ExitStack
    ) -> None:
        self._model = model
        self._targets = targets
        self._folder = folder
        self._stack = stack
        self._channels: dict[str, int] = {}
        self._images: dict[str, tuple[int, int]] = {}
        self._built: dict[frozenset[tuple[str, str]], StagedModel] = {}
        self._count = 0

    def learn(self, groups: Iterable[SiteGroup]) -> None:
        """Note what is known of the places of sites."""
        for group in groups:
            for site in group.sites:
                if group.channels is not None:
                    self._channels[site.id] = group.channels
                if group.image is not None:
                    self._images[site.id] = group.image

    def whole(self, choices: Mapping[str, str]) -> Path:
        """The model with the chosen sites written in other ways, as a file.

        Raises:
            OnnxActError: it cannot be written.
        """
        key = frozenset(choices.items())
        if key not in self._built:
            trial = load_model(self._model.content) if choices else self._model
            if choices:
                run_rules(self._rules(choices), trial, self._targets)
            name = f"trial-{self._count}.onnx"
            self._count += 1
            staged = stage_temporarily(trial, self._folder, name)
            self._built[key] = self._stack.enter_context(staged)
        return self._built[key].path

    def _rules(self, choices: Mapping[str, str]) -> list[Rule]:
        flattened = frozenset(site for site, key in choices.items() if key == FLATTENED)
        ways = {site: key for site, key in choices.items() if key != FLATTENED}
        rules: list[Rule] = []
        if ways:
            rules.append(RespellActivation(ways, self._channels, self._images))
        if flattened:
            rules.append(FlattenMatMul(flattened))
        return rules

    def forget_but(self, *kept: Mapping[str, str]) -> None:
        """Remove the files of all trials but these and the model as it is."""
        as_it_is: frozenset[tuple[str, str]] = frozenset()
        wanted = {as_it_is, *(frozenset(choices.items()) for choices in kept)}
        for key in [key for key in self._built if key not in wanted]:
            # What is removed already is no matter to the stack that removes the rest.
            with self._built.pop(key):
                pass

    def around(
        self,
        group: SiteGroup,
        keys: list[str],
        constants: Constants,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> list[bytes] | None:
        """The neighbourhood of a site of a group, as it is and in each of the ways.

        Returns:
            None where it cannot be cut out.
        """
        site = group.sites[0]
        excerpt = neighbourhood(site, self._model, constants, shapes)
        if excerpt is None:
            return None
        found = [serialised(excerpt)]
        if len(found[0]) > _MOST_BYTES:
            return None
        try:
            found += [self._respelled(excerpt, site, key) for key in keys]
        except OnnxActError:
            return None
        return found

    def _respelled(self, excerpt: OnnxModel, site: Site, key: str) -> bytes:
        trial = load_model(excerpt.content)
        rule = RespellActivation({site.id: key}, self._channels)
        plan = run_rules([rule], trial, self._targets)
        if not plan.changes:
            raise EvidenceError(f"{site.id} is no site of its own in its neighbourhood")
        return serialised(trial)
