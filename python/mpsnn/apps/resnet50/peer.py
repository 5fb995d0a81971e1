# SPDX-License-Identifier: MIT
"""The same net and step in PyTorch, to measure against; importing this imports PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import mpsnn as mps
from mpsnn.apps.resnet50.images import Batch
from mpsnn.apps.resnet50.ways import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY

STAGES = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 with the stride, 1 x 1 to four times the channels, and the source added."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Any) -> Any:  # noqa: ANN401
        """The block."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """ResNet-50 with torchvision's names; the stem for 32 x 32 or for 224 x 224 pixels."""

    def __init__(self, classes: int, width: int = 64, stem: str = "cifar") -> None:
        super().__init__()
        small = stem == "cifar"
        self.conv1 = (
            nn.Conv2d(3, width, 3, padding=1, bias=False)
            if small
            else nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        channels = width
        for stage, count in enumerate(STAGES):
            blocks = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(channels, width << stage, stride))
                channels = 4 * (width << stage)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:  # noqa: ANN401
        """Pictures (N, 3, H, W) to logits (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(len(STAGES)):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def load_weights(net: ResNet50, data_sources: Mapping[str, mps.DataSource]) -> None:
    """Gives the peer the first weights of our data sources.

    Args:
        net: The peer.
        data_sources: Ours by torchvision's names.

    Raises:
        RuntimeError: A tensor is missing, left over, or of another shape.
    """
    tensors = {name: value for name, value in net.state_dict().items() if "num_batches" in name}
    for name, source in data_sources.items():
        for parameter in source.parameters:
            values = torch.from_numpy(source.initial(parameter))
            if parameter == "weights":
                values = values.permute(0, 3, 1, 2)
                values = values.flatten(1) if name == "fc" else values
            tensors[f"{name}.{NAMES[parameter]}"] = values
    net.load_state_dict(tensors)


NAMES = {
    "weights": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def run(net: ResNet50, batches: Iterable[Batch], lr: float = LEARNING_RATE) -> Iterator[float]:
    """Trains eagerly on batches: channels last, float32, a fused optimizer.

    Args:
        net: The net, in channels-last memory.
        batches: What to train on.
        lr: Learning rate.

    Yields:
        The loss of each batch.
    """
    optimizer = torch.optim.SGD(
        net.parameters(), lr, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
    )
    for batch in batches:
        # (N, H, W, C) seen as (N, C, H, W) is channels-last memory.
        images = torch.from_numpy(batch.images).permute(0, 3, 1, 2)
        labels = torch.from_numpy(batch.labels[:, 0, 0].argmax(1))
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        yield float(loss.detach())
