"""The files of a job at hand: where they are, or brought from a URL and delivered to one."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from onnx_act.batch.fingerprint import digests_of_model
from onnx_act.batch.inputs import is_remote
from onnx_act.batch.remote import bring, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True)
class Files:
    """Where a job reads and writes on this machine.

    Attributes:
        source: the model.
        target: where its result goes; None for a dry run.
        inputs: what tells whether the model changed.
        result: the URL of the result, "" when that is what `target` says.
        names: what files here are called elsewhere.
    """

    source: Path
    target: Path | None
    inputs: dict[str, str]
    result: str = ""
    names: dict[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda _: None

    def delivered(self) -> dict[str, str]:
        """Bring the result to its place; what tells later whether it changed.

        Raises:
            UsageError: it cannot be stored there.
        """
        assert self.target is not None
        if not self.result:
            return digests_of_model(self.target)
        self.tell("storing")
        return put(self.target, self.result)


@contextmanager
def files_at_hand(
    path: str, target: str | None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Files]:
    """The files of a job on this machine, for as long as it takes.

    Args:
        path: the model: a path or a URL.
        target: where its result goes: a path, a URL, or None.
        tell: told what is going on.

    Raises:
        ModelError: a model with a URL cannot be fetched.
        UsageError: a URL cannot be reached.
    """
    with ExitStack() as stack:
        folder = None
        if is_remote(path) or (target is not None and is_remote(target)):
            made = tempfile.TemporaryDirectory(prefix="onnx-act-")
            folder = Path(stack.enter_context(made))
        if folder is not None and is_remote(path):
            tell("fetching")
            (folder / "in").mkdir()
            source, inputs = bring(path, folder / "in")
        else:
            source, inputs = Path(path), digests_of_model(Path(path))
        files = Files(source, None if target is None else Path(target), inputs, tell=tell)
        if str(source) != path:
            files.names[str(source)] = path
        if folder is not None and target is not None and is_remote(target):
            (folder / "out").mkdir()
            files.result, files.target = target, folder / "out" / PurePath(target).name
            files.names[str(files.target)] = target
        yield files
