# SPDX-License-Identifier: MIT
"""Inception-v3 (Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015).

The layers, their order and their names are torchvision's: `Mixed_5b.branch1x1.conv` here is the
same tensor as `Mixed_5b.branch1x1.conv.weight` there.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpsnn._core import (
    FilterNode,
    ImageEdgeMode,
    ImageNode,
    InvalidArgumentError,
    Optimizer,
    PaddingMethod,
    PaddingPolicy,
)
from mpsnn.models.layers import Layers, Net, OptimizerFactory, check_positive
from mpsnn.nodes import (
    ConcatenationNode,
    PoolingAverageNode,
    PoolingMaxNode,
    ReductionSpatialMeanNode,
)

EPSILON = 1e-3
SMALLEST = 75  # a smaller picture has nothing left before the last blocks
FEATURES = 2048
AUXILIARY_EDGE = 5  # what the auxiliary classifier's last convolution needs after its pooling

# Rows and columns of a kernel.
ROW = (1, 7)
COLUMN = (7, 1)


@dataclass(frozen=True)
class InceptionV3(Net):
    """Inception-v3's nodes that others connect to, and its weights: see `Net`.

    Its activations are the stem's convolutions ("Conv2d_1a_3x3" …), "maxpool1", "maxpool2", the
    blocks ("Mixed_5b" … "Mixed_7c") and "avgpool", the (N, 1, 1, 2048) features of a picture.

    Attributes:
        auxiliary_logits: The auxiliary classifier's, (N, 1, 1, classes); None: not asked for.
    """

    auxiliary_logits: ImageNode | None = None


def inception_v3(
    source: ImageNode,
    *,
    classes: int,
    auxiliary: bool = False,
    size: tuple[int, int] = (299, 299),
    optimizer: Optimizer | OptimizerFactory | None = None,
    seed: int = 0,
) -> InceptionV3:
    """Builds Inception-v3.

    torchvision's dropout before the last layer is left out: its net in evaluation mode is the same
    function. So is its `transform_input`, which belongs to the pictures: where weights ask for it,
    make channel c of pictures that were normalised by ImageNet's mean and deviation
    x * deviation[c] / 0.5 + (mean[c] - 0.5) / 0.5 beforehand.

    Args:
        source: The pictures, (N, H, W, 3).
        classes: Number of classes.
        auxiliary: Build the auxiliary classifier after "Mixed_6e", too.
        size: Height and width of the pictures, 75 or more; with `auxiliary` large enough that its
            pooling leaves 5 x 5 pixels: 299.
        optimizer: Updates all weights; or a function that gives the optimizer of a data source by
            its name, None for those that stay. None: nothing is trained.
        seed: Fixes the first weights: normal of variance 2 / fan-in (`he_normal`) for the
            convolutions, normal of deviation 0.01 for the last layers.

    Returns:
        The net.

    Raises:
        InvalidArgumentError: No class, or pictures too small.
    """
    check_positive("inception_v3", classes=classes)
    for extent in size:
        _check_size(extent, auxiliary=auxiliary)
    build = _Builder(optimizer, seed, epsilon=EPSILON)
    image = build.stem(source)
    for name, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        image = build.block_a(image, inputs, pooled, f"Mixed_{name}")
    image = build.block_b(image, 288, "Mixed_6a")
    for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        image = build.block_c(image, inner, f"Mixed_{name}")
    auxiliary_logits = build.auxiliary(image, classes).result_image if auxiliary else None
    image = build.block_d(image, "Mixed_7a")
    image = build.block_e(image, 1280, "Mixed_7b")
    image = build.block_e(image, FEATURES, "Mixed_7c")
    image = build.keep(ReductionSpatialMeanNode(image, label="avgpool"), "avgpool")
    logits = build.fully_connected(image, FEATURES, classes, "fc").result_image
    return InceptionV3(
        source,
        logits,
        build.data_sources,
        build.activations,
        frozenset(build.fully_connected_names),
        auxiliary_logits,
    )


def _check_size(extent: int, *, auxiliary: bool) -> None:
    if extent < SMALLEST:
        raise InvalidArgumentError(f"inception_v3: size: expected {SMALLEST} or more, got {extent}")
    for kernel, stride in ((3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 2), (5, 3)):
        extent = (extent - kernel) // stride + 1
    if auxiliary and extent < AUXILIARY_EDGE:
        raise InvalidArgumentError(
            f"inception_v3: size: expected pictures that leave the auxiliary classifier "
            f"{AUXILIARY_EDGE} pixels, got {extent}"
        )


def _valid() -> PaddingPolicy:
    return PaddingPolicy(PaddingMethod.SIZE_VALID_ONLY)


class _Builder(Layers):
    """Makes the blocks, named A to E as torchvision does."""

    def unit(
        self,
        image: ImageNode | FilterNode,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        name: str,
        *,
        stride: int = 1,
        padded: bool = True,
    ) -> FilterNode:
        """A convolution, normalised, and a neuron; without padding the picture shrinks."""
        policy = None if padded else _valid()
        x = self.convolution(
            image, inputs, outputs, kernel, stride, f"{name}.conv", padding_policy=policy
        )
        return self.relu(self.normalization(x, outputs, f"{name}.bn"), f"{name}.relu")

    def stem(self, source: ImageNode) -> FilterNode:
        """To 192 channels and, but for the edges, an eighth of the size."""

        def layer(
            image: ImageNode | FilterNode,
            inputs: int,
            outputs: int,
            kernel: int,
            name: str,
            *,
            stride: int = 1,
            padded: bool = False,
        ) -> FilterNode:
            unit = self.unit(image, inputs, outputs, kernel, name, stride=stride, padded=padded)
            return self.keep(unit, name)

        x = layer(source, 3, 32, 3, "Conv2d_1a_3x3", stride=2)
        x = layer(x, 32, 32, 3, "Conv2d_2a_3x3")
        x = layer(x, 32, 64, 3, "Conv2d_2b_3x3", padded=True)
        x = self.keep(_max_pooling(x, "maxpool1"), "maxpool1")
        x = layer(x, 64, 80, 1, "Conv2d_3b_1x1")
        x = layer(x, 80, 192, 3, "Conv2d_4a_3x3")
        return self.keep(_max_pooling(x, "maxpool2"), "maxpool2")

    def block_a(self, image: FilterNode, inputs: int, pooled: int, name: str) -> FilterNode:
        """Windows of 1 x 1, 5 x 5 and twice 3 x 3."""
        one = self.unit(image, inputs, 64, 1, f"{name}.branch1x1")
        five = self.unit(image, inputs, 48, 1, f"{name}.branch5x5_1")
        five = self.unit(five, 48, 64, 5, f"{name}.branch5x5_2")
        three = self.unit(image, inputs, 64, 1, f"{name}.branch3x3dbl_1")
        three = self.unit(three, 64, 96, 3, f"{name}.branch3x3dbl_2")
        three = self.unit(three, 96, 96, 3, f"{name}.branch3x3dbl_3")
        return self._join([one, five, three, self._pooled(image, inputs, pooled, name)], name)

    def block_b(self, image: FilterNode, inputs: int, name: str) -> FilterNode:
        """Halves the size."""
        three = self.unit(image, inputs, 384, 3, f"{name}.branch3x3", stride=2, padded=False)
        twice = self.unit(image, inputs, 64, 1, f"{name}.branch3x3dbl_1")
        twice = self.unit(twice, 64, 96, 3, f"{name}.branch3x3dbl_2")
        twice = self.unit(twice, 96, 96, 3, f"{name}.branch3x3dbl_3", stride=2, padded=False)
        return self._join([three, twice, _max_pooling(image, f"{name}.maxpool")], name)

    def block_c(self, image: FilterNode, inner: int, name: str) -> FilterNode:
        """Windows of 7 x 7 in rows and columns."""
        one = self.unit(image, 768, 192, 1, f"{name}.branch1x1")
        seven = self.unit(image, 768, inner, 1, f"{name}.branch7x7_1")
        seven = self.unit(seven, inner, inner, ROW, f"{name}.branch7x7_2")
        seven = self.unit(seven, inner, 192, COLUMN, f"{name}.branch7x7_3")
        twice = self.unit(image, 768, inner, 1, f"{name}.branch7x7dbl_1")
        twice = self.unit(twice, inner, inner, COLUMN, f"{name}.branch7x7dbl_2")
        twice = self.unit(twice, inner, inner, ROW, f"{name}.branch7x7dbl_3")
        twice = self.unit(twice, inner, inner, COLUMN, f"{name}.branch7x7dbl_4")
        twice = self.unit(twice, inner, 192, ROW, f"{name}.branch7x7dbl_5")
        return self._join([one, seven, twice, self._pooled(image, 768, 192, name)], name)

    def block_d(self, image: FilterNode, name: str) -> FilterNode:
        """Halves the size."""
        three = self.unit(image, 768, 192, 1, f"{name}.branch3x3_1")
        three = self.unit(three, 192, 320, 3, f"{name}.branch3x3_2", stride=2, padded=False)
        seven = self.unit(image, 768, 192, 1, f"{name}.branch7x7x3_1")
        seven = self.unit(seven, 192, 192, ROW, f"{name}.branch7x7x3_2")
        seven = self.unit(seven, 192, 192, COLUMN, f"{name}.branch7x7x3_3")
        seven = self.unit(seven, 192, 192, 3, f"{name}.branch7x7x3_4", stride=2, padded=False)
        return self._join([three, seven, _max_pooling(image, f"{name}.maxpool")], name)

    def block_e(self, image: FilterNode, inputs: int, name: str) -> FilterNode:
        """Windows of 3 x 3 whose rows and columns stand side by side."""
        one = self.unit(image, inputs, 320, 1, f"{name}.branch1x1")
        three = self.unit(image, inputs, 384, 1, f"{name}.branch3x3_1")
        wide = self.unit(three, 384, 384, (1, 3), f"{name}.branch3x3_2a")
        high = self.unit(three, 384, 384, (3, 1), f"{name}.branch3x3_2b")
        twice = self.unit(image, inputs, 448, 1, f"{name}.branch3x3dbl_1")
        twice = self.unit(twice, 448, 384, 3, f"{name}.branch3x3dbl_2")
        twice_wide = self.unit(twice, 384, 384, (1, 3), f"{name}.branch3x3dbl_3a")
        twice_high = self.unit(twice, 384, 384, (3, 1), f"{name}.branch3x3dbl_3b")
        pooled = self._pooled(image, inputs, 192, name)
        return self._join([one, wide, high, twice_wide, twice_high, pooled], name)

    def auxiliary(self, image: FilterNode, classes: int) -> FilterNode:
        """A classifier on the way, so that early layers get a gradient of their own."""
        x: FilterNode = PoolingAverageNode(
            image,
            5,
            stride_in_pixels_x=3,
            stride_in_pixels_y=3,
            label="AuxLogits.avgpool",
            padding_policy=_valid(),
        )
        x = self.unit(x, 768, 128, 1, "AuxLogits.conv0")
        x = self.unit(x, 128, 768, 5, "AuxLogits.conv1", padded=False)
        x = ReductionSpatialMeanNode(x, label="AuxLogits.mean")
        return self.fully_connected(x, 768, classes, "AuxLogits.fc")

    def _pooled(self, image: FilterNode, inputs: int, outputs: int, name: str) -> FilterNode:
        """Zeros beyond the edge count in the mean, as in torchvision."""
        mean = PoolingAverageNode(
            image,
            3,
            stride_in_pixels_x=1,
            stride_in_pixels_y=1,
            edge_mode=ImageEdgeMode.ZERO,
            label=f"{name}.avgpool",
        )
        return self.unit(mean, inputs, outputs, 1, f"{name}.branch_pool")

    def _join(self, images: list[FilterNode], name: str) -> FilterNode:
        return self.keep(ConcatenationNode(images, label=name), name)


def _max_pooling(image: FilterNode, label: str) -> FilterNode:
    return PoolingMaxNode(
        image,
        3,
        stride_in_pixels_x=2,
        stride_in_pixels_y=2,
        label=label,
        padding_policy=_valid(),
    )
