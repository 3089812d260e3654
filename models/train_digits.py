"""The digits data, its fixed split, and the training loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from networks import NETWORKS, Network
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

SPLIT_SEED = 17
TRAIN_SEED = 0
TEST_IMAGES = 450
# Chosen by four-fold cross-validation within the training images.
EPOCHS = 80
BATCH = 64
PEAK_LEARNING_RATE = 8e-3
WEIGHT_DECAY = 1e-2
DISTORTION = 0.1  # standard deviation of the random affine maps, in half image sides


@dataclass(frozen=True)
class Images:
    """Images [n, 1, 8, 8] with values from 0 to 1, and their digits [n]."""

    image: NDArray[np.float32]
    labels: NDArray[np.int64]


def load_split() -> tuple[Images, Images]:
    """The training and the held-out test images: stratified, and always the same."""
    digits = load_digits()
    image = (digits.images / 16).astype(np.float32)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    train_image, test_image, train_labels, test_labels = train_test_split(
        image, labels, test_size=TEST_IMAGES, stratify=labels, random_state=SPLIT_SEED
    )
    return Images(train_image, train_labels), Images(test_image, test_labels)


def distorted(image: Tensor) -> Tensor:
    """Each image under its own small random affine map, so that the networks see variety."""
    maps = torch.eye(2, 3) + DISTORTION * torch.randn(len(image), 2, 3)
    grid = functional.affine_grid(maps, list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, align_corners=False)


def train(name: str, data: Images) -> Network:
    """Train the named network from fixed seeds on one thread; returned in eval mode.

    The number of epochs is fixed beforehand: the test images play no part in training.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(TRAIN_SEED)
    network = NETWORKS[name]()
    image, labels = torch.from_numpy(data.image), torch.from_numpy(data.labels)

    # Weight matrices decay; biases, normalisation and PRelu slopes (all vectors) do not.
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in network.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE)
    batches_an_epoch = len(range(0, len(labels), BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, total_steps=EPOCHS * batches_an_epoch
    )
    loss_of = nn.CrossEntropyLoss()
    network.train()
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(labels)), BATCH):
            optimiser.zero_grad()
            loss_of(network(distorted(image[chosen])), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
    return network.eval()
