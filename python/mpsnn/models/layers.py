# SPDX-License-Identifier: MIT
"""What the nets share: layers with fresh weights, kept by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mpsnn._core import (
    BatchNormalizationDataSource,
    ConvolutionDataSource,
    ConvolutionDescriptor,
    DataSource,
    FilterNode,
    ImageNode,
    InvalidArgumentError,
    Optimizer,
    PaddingPolicy,
)
from mpsnn.initializers import RandomNumbers, he_normal, normal
from mpsnn.nodes import (
    BatchNormalizationNode,
    ConvolutionNode,
    FullyConnectedNode,
    NeuronReLUNode,
)

# Gives the optimizer of a data source by its name; None: it is not trained.
OptimizerFactory = Callable[[str], Optimizer | None]

EPSILON = 1e-5
MOMENTUM = 0.9
LOGITS_DEVIATION = 0.01  # Goyal et al., Accurate, Large Minibatch SGD, 2017, §5.1


@dataclass(frozen=True)
class Net:
    """A net's nodes that others connect to, and its weights.

    Attributes:
        source: The pictures, (N, H, W, 3).
        logits: What a softmax makes probabilities of, (N, 1, 1, classes).
        data_sources: Convolutions, batch normalisations and fully connected layers by torchvision's
            names.
        activations: Images on the way by name, in the order of the layers; any of them may be a
            graph's result.
        fully_connected: Names of the data sources whose weights torchvision keeps as matrices.
    """

    source: ImageNode
    logits: ImageNode
    data_sources: dict[str, DataSource]
    activations: dict[str, ImageNode] = field(default_factory=dict)
    fully_connected: frozenset[str] = frozenset()


class Layers:
    """Makes layers with fresh weights, and keeps weights and images by name."""

    def __init__(
        self,
        optimizer: Optimizer | OptimizerFactory | None,
        seed: int,
        *,
        epsilon: float = EPSILON,
    ) -> None:
        self.data_sources: dict[str, DataSource] = {}
        self.activations: dict[str, ImageNode] = {}
        self.fully_connected_names: set[str] = set()
        self._optimizer = optimizer
        self._numbers = RandomNumbers(seed)
        self._epsilon = epsilon

    def keep(self, node: FilterNode, name: str) -> FilterNode:
        """Notes a node's image by a name."""
        self.activations[name] = node.result_image
        return node

    def convolution(
        self,
        image: ImageNode | FilterNode,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int,
        name: str,
        *,
        bias: bool = False,
        padding_policy: PaddingPolicy | None = None,
    ) -> FilterNode:
        """Of `kernel` rows and columns; no bias where a normalisation with one follows."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        descriptor = ConvolutionDescriptor(
            width, height, inputs, outputs, stride_in_pixels_x=stride, stride_in_pixels_y=stride
        )
        weights = he_normal((outputs, height, width, inputs), self._numbers)
        source = ConvolutionDataSource(
            descriptor,
            weights,
            np.zeros(outputs, np.float32) if bias else None,
            label=name,
            optimizer=self._optimizer_of(name),
        )
        self.data_sources[name] = source
        return ConvolutionNode(image, source, label=name, padding_policy=padding_policy)

    def normalization(
        self, image: FilterNode, channels: int, name: str, gamma: float = 1.0
    ) -> FilterNode:
        """Over the batch, with torchvision's momentum."""
        source = BatchNormalizationDataSource(
            channels,
            gamma=np.full(channels, gamma, np.float32),
            epsilon=self._epsilon,
            momentum=MOMENTUM,
            label=name,
            optimizer=self._optimizer_of(name),
        )
        self.data_sources[name] = source
        return BatchNormalizationNode(image, source, label=name)

    def fully_connected(
        self,
        image: FilterNode,
        inputs: int,
        outputs: int,
        name: str,
        size: tuple[int, int] = (1, 1),
    ) -> FilterNode:
        """From images of `size` rows and columns; torchvision's weights are a matrix."""
        descriptor = ConvolutionDescriptor(size[1], size[0], inputs, outputs)
        weights = normal((outputs, *size, inputs), self._numbers, 0.0, LOGITS_DEVIATION)
        source = ConvolutionDataSource(
            descriptor, weights, np.zeros(outputs, np.float32), name, self._optimizer_of(name)
        )
        self.data_sources[name] = source
        self.fully_connected_names.add(name)
        return FullyConnectedNode(image, source, label=name)

    @staticmethod
    def relu(image: FilterNode, name: str) -> FilterNode:
        """The larger of a value and 0."""
        return NeuronReLUNode(image, label=name)

    def _optimizer_of(self, name: str) -> Optimizer | None:
        if self._optimizer is None or isinstance(self._optimizer, Optimizer):
            return self._optimizer
        return self._optimizer(name)


def check_positive(net: str, **values: int) -> None:
    """Refuses numbers below 1, naming the net's function and the argument."""
    for name, value in values.items():
        if value < 1:
            raise InvalidArgumentError(f"{net}: {name}: expected 1 or more, got {value}")
