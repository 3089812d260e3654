"""The small PyTorch networks: four CNNs and one MLP for 8x8 handwritten digits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 10
SIDE = 8  # images are SIDE x SIDE, one channel


class ConvBlock(nn.Module):
    """A 3x3 convolution, batch normalisation if asked for, and an activation."""

    def __init__(
        self, channels_in: int, channels_out: int, act: nn.Module, *, normalised: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=not normalised)
        self.bn = nn.BatchNorm2d(channels_out) if normalised else None
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, activate."""
        y: Tensor = self.conv(x)
        if self.bn is not None:
            y = self.bn(y)
        y = self.act(y)
        return y


class DigitsCnn(nn.Module):
    """Two convolution blocks, a 2x2 pool, two more blocks, another pool, a linear head."""

    def __init__(self, act: Callable[[int], nn.Module], *, normalised: bool) -> None:
        super().__init__()

        def block(channels_in: int, channels_out: int) -> ConvBlock:
            return ConvBlock(channels_in, channels_out, act(channels_out), normalised=normalised)

        self.features = nn.Sequential(
            block(1, 16),
            block(16, 16),
            nn.MaxPool2d(2),
            block(16, 32),
            block(32, 32),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(32 * (SIDE // 4) ** 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        logits: Tensor = self.head(torch.flatten(self.features(x), 1))
        return logits


class LinearBlock(nn.Module):
    """A linear layer and an activation."""

    def __init__(self, width_in: int, width_out: int, act: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width_out)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Linear, then activate."""
        y: Tensor = self.act(self.linear(x))
        return y


class DigitsMlp(nn.Module):
    """The flattened image through two hidden layers and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            LinearBlock(SIDE * SIDE, 128, nn.GELU()),
            LinearBlock(128, 64, nn.GELU()),
        )
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        logits: Tensor = self.head(self.features(torch.flatten(x, 1)))
        return logits


Network = DigitsCnn | DigitsMlp

NETWORKS: dict[str, Callable[[], Network]] = {
    "digits_cnn_relu": lambda: DigitsCnn(lambda _: nn.ReLU(), normalised=True),
    "digits_cnn_silu": lambda: DigitsCnn(lambda _: nn.SiLU(), normalised=False),
    "digits_cnn_mish": lambda: DigitsCnn(lambda _: nn.Mish(), normalised=True),
    "digits_cnn_prelu": lambda: DigitsCnn(nn.PReLU, normalised=False),
    "digits_mlp_gelu": DigitsMlp,
}
