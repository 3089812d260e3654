"""How far fusing goes. It imports nothing heavy: the command line needs it to show its help."""

from __future__ import annotations

import enum

from onnx_act.errors import UnknownNameError


class FuseMode(enum.StrEnum):
    """Which rules of folding and fusing run."""

    NONE = "none"
    #: Standard ONNX only, which every provider runs.
    PORTABLE = "portable"
    #: Portable, and the contrib fusions that the runtime would not make itself when it loads the
    #: model and that were measured to be faster.
    AUTO = "auto"
    #: Portable, and every contrib operator that all targets have.
    CONTRIB = "contrib"

    @classmethod
    def parse(cls, text: str, where: str) -> FuseMode:
        """The mode of this name, in any case.

        Args:
            text: the name.
            where: what takes it, for the message.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest.
        """
        try:
            return cls(text.strip().lower())
        except ValueError:
            raise UnknownNameError(f"mode of {where}", text, list(cls)) from None
