# SPDX-License-Identifier: MIT
"""Residual nets with bottlenecks (He et al., Deep Residual Learning for Image Recognition, 2015).

The layers, their order and their names are torchvision's: `layer2.0.conv1` here is the same tensor
as `layer2.0.conv1.weight` there. The stride of a stage stands in its 3 x 3 convolution ("v1.5").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpsnn._core import (
    FilterNode,
    ImageNode,
    InvalidArgumentError,
    Optimizer,
)
from mpsnn.models.layers import Layers, Net, OptimizerFactory, check_positive
from mpsnn.nodes import AdditionNode, PoolingAverageNode, PoolingMaxNode

EXPANSION = 4  # a bottleneck's output channels over its width
# Usual edge of the source, and what the stem divides it by.
STEMS = {"imagenet": (224, 4), "cifar": (32, 1)}


@dataclass(frozen=True)
class ResNet(Net):
    """A residual net's nodes that others connect to, and its weights: see `Net`.

    Its activations are "stem", each bottleneck ("layer1.0" …) and "avgpool".
    """


def resnet50(
    source: ImageNode,
    *,
    classes: int,
    stem: str = "imagenet",
    size: tuple[int, int] | None = None,
    width: int = 64,
    optimizer: Optimizer | OptimizerFactory | None = None,
    seed: int = 0,
    zero_last_gamma: bool = False,
) -> ResNet:
    """Builds ResNet-50: stages of 3, 4, 6 and 3 bottlenecks. See `resnet` for the arguments.

    Example:
        >>> import mpsnn as mps
        >>> net = resnet50(mps.ImageNode("images"), classes=10, stem="cifar")
        >>> len(net.data_sources)
        107
    """
    return resnet(
        source,
        (3, 4, 6, 3),
        classes=classes,
        stem=stem,
        size=size,
        width=width,
        optimizer=optimizer,
        seed=seed,
        zero_last_gamma=zero_last_gamma,
    )


def resnet(
    source: ImageNode,
    blocks: Sequence[int],
    *,
    classes: int,
    stem: str = "imagenet",
    size: tuple[int, int] | None = None,
    width: int = 64,
    optimizer: Optimizer | OptimizerFactory | None = None,
    seed: int = 0,
    zero_last_gamma: bool = False,
) -> ResNet:
    """Builds a residual net of bottlenecks.

    Args:
        source: The pictures, (N, H, W, 3).
        blocks: Bottlenecks of each stage; each stage but the first halves the size.
        classes: Number of classes.
        stem: What stands before the first stage. "imagenet": a 7 x 7 convolution of stride 2 and a
            max pooling of stride 2. "cifar": one 3 x 3 convolution, for pictures of 32 x 32.
        size: Height and width of the pictures; None: 224 x 224, or 32 x 32 for "cifar".
        width: Channels after the stem; the stages have 4, 8, 16 … times as many.
        optimizer: Updates all weights; or a function that gives the optimizer of a data source by
            its name, None for those that stay. None: nothing is trained.
        seed: Fixes the first weights: normal of variance 2 / fan-in (`he_normal`) for the
            convolutions, normal of deviation 0.01 for the last layer.
        zero_last_gamma: Start the last normalisation of each bottleneck at gamma 0, so that the
            net begins as if the bottlenecks were not there.

    Returns:
        The net. In a training graph the normalisations use the batch's statistics, in an
        inference graph the running ones.

    Raises:
        InvalidArgumentError: An unknown stem, or a number below 1.
    """
    if stem not in STEMS:
        raise InvalidArgumentError(
            f'resnet: stem: expected one of {", ".join(STEMS)}, got "{stem}"'
        )
    edge, divisor = STEMS[stem]
    size = size or (edge, edge)
    check_positive("resnet", classes=classes, width=width, height=size[0], columns=size[1])
    check_positive("resnet", **{f"blocks[{stage}]": count for stage, count in enumerate(blocks)})

    build = _Builder(optimizer, seed, zero_last_gamma=zero_last_gamma)
    if stem == "imagenet":
        image = build.convolution(source, 3, width, 7, 2, "conv1")
        image = build.relu(build.normalization(image, width, "bn1"), "relu")
        image = PoolingMaxNode(image, 3, 3, 2, 2, label="maxpool")
    else:
        image = build.convolution(source, 3, width, 3, 1, "conv1")
        image = build.relu(build.normalization(image, width, "bn1"), "relu")
    build.keep(image, "stem")
    channels = width
    for stage, count in enumerate(blocks):
        inner = width << stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"layer{stage + 1}.{block}"
            image = build.keep(build.bottleneck(image, channels, inner, stride, name), name)
            channels = inner * EXPANSION
        divisor *= 2 if stage > 0 else 1
    height, columns = (-(-extent // divisor) for extent in size)
    image = build.keep(PoolingAverageNode(image, columns, height, label="avgpool"), "avgpool")
    logits = build.fully_connected(image, channels, classes, "fc").result_image
    return ResNet(
        source,
        logits,
        build.data_sources,
        build.activations,
        frozenset(build.fully_connected_names),
    )


class _Builder(Layers):
    """Makes bottlenecks, too."""

    def __init__(
        self, optimizer: Optimizer | OptimizerFactory | None, seed: int, *, zero_last_gamma: bool
    ) -> None:
        super().__init__(optimizer, seed)
        self._zero_last_gamma = zero_last_gamma

    def bottleneck(
        self, image: FilterNode, inputs: int, inner: int, stride: int, name: str
    ) -> FilterNode:
        """1 x 1 to `inner` channels, 3 x 3, 1 x 1 to four times as many, and the source added."""
        outputs = inner * EXPANSION
        x = self.convolution(image, inputs, inner, 1, 1, f"{name}.conv1")
        x = self.relu(self.normalization(x, inner, f"{name}.bn1"), f"{name}.relu1")
        x = self.convolution(x, inner, inner, 3, stride, f"{name}.conv2")
        x = self.relu(self.normalization(x, inner, f"{name}.bn2"), f"{name}.relu2")
        x = self.convolution(x, inner, outputs, 1, 1, f"{name}.conv3")
        gamma = 0.0 if self._zero_last_gamma else 1.0
        x = self.normalization(x, outputs, f"{name}.bn3", gamma)
        if stride != 1 or inputs != outputs:
            image = self.convolution(image, inputs, outputs, 1, stride, f"{name}.downsample.0")
            image = self.normalization(image, outputs, f"{name}.downsample.1")
        return self.relu(AdditionNode(x, image, label=f"{name}.add"), f"{name}.relu3")
