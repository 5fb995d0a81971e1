# SPDX-License-Identifier: MIT
"""VGG nets, plain and with batch normalisation.

Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014.
The layers, their order and their names are torchvision's: `features.0` here is the same tensor as
`features.0.weight` there.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpsnn._core import FilterNode, ImageNode, InvalidArgumentError, Optimizer
from mpsnn.models.layers import Layers, Net, OptimizerFactory, check_positive
from mpsnn.nodes import PoolingAverageNode, PoolingMaxNode

# Convolutions of each block.
BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDEST = 8  # the last blocks' channels over the first's
HALVINGS = 32  # what the five poolings divide the size by


@dataclass(frozen=True)
class VGG(Net):
    """A VGG net's nodes that others connect to, and its weights: see `Net`.

    Its activations are "conv1_1", "relu1_1", … (with batch normalisation "bn1_1" between),
    "pool1" … "pool5", "avgpool", "relu6" and "relu7".
    """


def vgg16(
    source: ImageNode,
    *,
    classes: int,
    batch_normalization: bool = False,
    size: tuple[int, int] = (224, 224),
    grid: tuple[int, int] = (7, 7),
    width: int = 64,
    hidden: int = 4096,
    optimizer: Optimizer | OptimizerFactory | None = None,
    seed: int = 0,
) -> VGG:
    """Builds VGG-16: blocks of 2, 2, 3, 3 and 3 convolutions, and three fully connected layers.

    torchvision's dropout between the fully connected layers is left out: its nets in evaluation
    mode are the same function, and a graph for inference is built without it.

    Args:
        source: The pictures, (N, H, W, 3).
        classes: Number of classes.
        batch_normalization: Normalise after each convolution: torchvision's vgg16_bn.
        size: Height and width of the pictures: multiples of 32 times the grid's. (torchvision takes
            others, with poolings whose windows differ in size.)
        grid: Rows and columns that the average pooling makes of the last block's; torchvision's are
            7 x 7.
        width: Channels of the first block; the others have 2, 4, 8 and 8 times as many.
        hidden: Channels of the first two fully connected layers.
        optimizer: Updates all weights; or a function that gives the optimizer of a data source by
            its name, None for those that stay. None: nothing is trained.
        seed: Fixes the first weights: normal of variance 2 / fan-in (`he_normal`) for the
            convolutions, normal of deviation 0.01 for the fully connected layers.

    Returns:
        The net.

    Raises:
        InvalidArgumentError: A number below 1, or a size that does not fit the grid.

    Example:
        >>> import mpsnn as mps
        >>> net = vgg16(mps.ImageNode("images"), classes=10, size=(32, 32), grid=(1, 1), width=4)
        >>> list(net.activations)[:5]
        ['conv1_1', 'relu1_1', 'conv1_2', 'relu1_2', 'pool1']
    """
    build = _Builder(optimizer, seed, batch_normalization=batch_normalization)
    return build.vgg("vgg16", source, BLOCKS[16], classes, size, grid, width, hidden)


def vgg19(
    source: ImageNode,
    *,
    classes: int,
    batch_normalization: bool = False,
    size: tuple[int, int] = (224, 224),
    grid: tuple[int, int] = (7, 7),
    width: int = 64,
    hidden: int = 4096,
    optimizer: Optimizer | OptimizerFactory | None = None,
    seed: int = 0,
) -> VGG:
    """Builds VGG-19: blocks of 2, 2, 4, 4 and 4 convolutions. See `vgg16` for the arguments."""
    build = _Builder(optimizer, seed, batch_normalization=batch_normalization)
    return build.vgg("vgg19", source, BLOCKS[19], classes, size, grid, width, hidden)


class _Builder(Layers):
    """Makes blocks of convolutions, numbered as torchvision's sequences are."""

    def __init__(
        self,
        optimizer: Optimizer | OptimizerFactory | None,
        seed: int,
        *,
        batch_normalization: bool,
    ) -> None:
        super().__init__(optimizer, seed)
        self._normalised = batch_normalization
        self._index = 0  # in torchvision's `features`, which counts neurons and poolings, too

    def vgg(
        self,
        name: str,
        source: ImageNode,
        blocks: tuple[int, ...],
        classes: int,
        size: tuple[int, int],
        grid: tuple[int, int],
        width: int,
        hidden: int,
    ) -> VGG:
        check_positive(name, classes=classes, width=width, hidden=hidden)
        check_positive(name, **{"grid[0]": grid[0], "grid[1]": grid[1]})
        rows, columns = (_window(name, *pair) for pair in zip(size, grid, strict=True))
        image: ImageNode | FilterNode = source
        channels = 3
        for number, count in enumerate(blocks, 1):
            outputs = width * min(1 << (number - 1), WIDEST)
            for layer in range(1, count + 1):
                image = self._layer(image, channels, outputs, f"{number}_{layer}")
                channels = outputs
            pooled = PoolingMaxNode(image, 2, label=f"pool{number}")
            image = self.keep(pooled, f"pool{number}")
            self._index += 1
        # The windows lie side by side.
        pooled_features = PoolingAverageNode(image, columns, rows, label="avgpool")
        x = self.keep(pooled_features, "avgpool")
        x = self.fully_connected(x, channels, hidden, "classifier.0", grid)
        x = self.keep(self.relu(x, "relu6"), "relu6")
        x = self.fully_connected(x, hidden, hidden, "classifier.3")
        x = self.keep(self.relu(x, "relu7"), "relu7")
        logits = self.fully_connected(x, hidden, classes, "classifier.6").result_image
        return VGG(
            source,
            logits,
            self.data_sources,
            self.activations,
            frozenset(self.fully_connected_names),
        )

    def _layer(
        self, image: ImageNode | FilterNode, inputs: int, outputs: int, place: str
    ) -> FilterNode:
        x = self.convolution(image, inputs, outputs, 3, 1, f"features.{self._index}", bias=True)
        self.keep(x, f"conv{place}")
        if self._normalised:
            self._index += 1
            x = self.normalization(x, outputs, f"features.{self._index}")
            self.keep(x, f"bn{place}")
        self._index += 2
        return self.keep(self.relu(x, f"relu{place}"), f"relu{place}")


def _window(name: str, extent: int, cells: int) -> int:
    """Rows or columns of an average pooling's window that makes `cells` of them."""
    features = extent // HALVINGS
    if features < 1 or features % cells or extent % HALVINGS:
        raise InvalidArgumentError(
            f"{name}: size: expected multiples of {HALVINGS} times the grid's {cells}, got {extent}"
        )
    return features // cells
