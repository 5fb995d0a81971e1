# SPDX-License-Identifier: MIT
"""What bench/nodes.py measures: a row a node class, plain data, three sizes each.

Gradients are measured on the rows of their forward nodes. Knows neither mpsnn nor PyTorch.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int, int, int]
Floats = NDArray[np.float32]

SIZES = ("small", "medium", "large")

# (N, H, W, C): 0.1, 3 and 51 MB.
IMAGES: dict[str, tuple[Size, ...]] = {
    "small": ((1, 28, 28, 32),),
    "medium": ((4, 56, 56, 64),),
    "large": ((16, 112, 112, 64),),
}
PAIRS = {size: images * 2 for size, images in IMAGES.items()}
CLASSES: dict[str, tuple[Size, ...]] = {
    "small": ((32, 1, 1, 10),),
    "medium": ((64, 1, 1, 1000),),
    "large": ((256, 1, 1, 32000),),
}
LABELLED = {size: images * 2 for size, images in CLASSES.items()}
# 0.05, 3 and 13 MB: what a convolution of 64 channels does with them takes long enough.
CONVOLVED: dict[str, tuple[Size, ...]] = {
    "small": ((1, 14, 14, 64),),
    "medium": ((4, 56, 56, 64),),
    "large": ((4, 112, 112, 64),),
}
FEATURES: dict[str, tuple[Size, ...]] = {
    "small": ((1, 1, 1, 512),),
    "medium": ((32, 1, 1, 1024),),
    "large": ((64, 1, 1, 4096),),
}
# Three anchors of 4 + 1 + 80 values.
BOXES: dict[str, tuple[Size, ...]] = {
    "small": ((1, 13, 13, 255),) * 2,
    "medium": ((4, 26, 26, 255),) * 2,
    "large": ((16, 52, 52, 255),) * 2,
}


@dataclass(frozen=True)
class Weights:
    """Weights of a convolution; as many result channels as source channels."""

    kernel: int = 1
    stride: int = 1
    is_depthwise: bool = False


@dataclass(frozen=True)
class Moved:
    """Streams of memory that a kernel cannot do without, in elements of the sources and results.

    `forward` and `gradient` count (source-sized, result-sized) images that are read or written. A
    normalisation reads its source twice: the statistics come first.
    """

    forward: tuple[float, float]
    gradient: tuple[float, float] | None = None


@dataclass(frozen=True)
class NodeCase:
    """One node.

    Attributes:
        node: Name of the node class.
        sources: Sizes of the sources.
        attributes: Arguments of the constructor that are no images; "channels" stands for a list of
            one number a channel, "half", "same" and "double" for parts of the source's extent.
        weights: Of a data source.
        variant: Tells several rows of a class apart.
        positive: Sources from 0.5 on.
        moved: For those that memory bounds.
        same_values: Whether PyTorch's counterpart gives the same numbers.
        peer: Why there is no counterpart, or what differs in it.
    """

    node: str
    sources: Mapping[str, tuple[Size, ...]] = field(default_factory=lambda: IMAGES)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    variant: str = ""
    positive: bool = False
    moved: Moved | None = None
    same_values: bool = True
    peer: str = ""

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> str:
        """The class without "Node", and the variant."""
        return self.node.removesuffix("Node") + (f" {self.variant}" if self.variant else "")

    def arguments(self, size: str) -> dict[str, Any]:
        """The attributes for a size."""
        _, height, width, channels = self.sources[size][0]
        extents = {
            "result_width": width,
            "result_height": height,
            "result_feature_channels": channels,
        }
        factors = {"half": 0.5, "same": 1.0, "double": 2.0}
        found: dict[str, Any] = {}
        for name, value in self.attributes.items():
            if value == "channels":
                found[name] = [0.01 * (1 + i % 32) for i in range(channels)]
            elif isinstance(value, str):
                found[name] = int(extents[name] * factors[value])
            else:
                found[name] = value
        return found

    def arrays(self, size: str) -> dict[str, Floats]:
        """The same random sources for every contestant."""
        found = {}
        for i, shape in enumerate(self.sources[size]):
            found[f"source{i}"] = self.random(f"source{i}", shape)
        if self.node == "YOLOLossNode":
            found["source1"] = np.abs(found["source1"])
        if self.variant == "softmax":
            weights = np.exp(found["source1"])
            found["source1"] = weights / weights.sum(axis=3, keepdims=True)
        return found

    def parameters(self, size: str) -> dict[str, Floats]:
        """Weights and bias of the data source."""
        if self.weights is None:
            return {}
        channels = self.sources[size][0][3]
        kernel, inputs = self.weights.kernel, 1 if self.weights.is_depthwise else channels
        weights = self.random("weights", (channels, kernel, kernel, inputs))
        return {
            "weights": weights / np.float32(math.sqrt(kernel * kernel * inputs)),
            "bias": self.random("bias", (channels,)),
        }

    def start(self, shape: tuple[int, ...]) -> Floats:
        """The gradient of the result; 1 for a loss, of which some make one value an image."""
        if self.node == "ForwardLossNode":
            return np.ones(shape, np.float32)
        return self.random("gradient", shape)

    def random(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Normal numbers, or positive ones."""
        seed = zlib.crc32(f"{self.id} {name}".encode())
        values = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return np.abs(values) + np.float32(0.5) if self.positive else values


def neuron(name: str, **more: Any) -> NodeCase:
    """Reads and writes an image; the gradient reads two."""
    attributes = more.pop("attributes", {})
    moved = Moved((1, 1), (1, 1) if name == "Linear" else (2, 1))
    return NodeCase(f"Neuron{name}Node", IMAGES, attributes, moved=moved, **more)


NEURONS = [
    neuron("ReLU"),
    neuron("ReLUN", attributes={"a": 0.0, "b": 6.0}),
    neuron("PReLU", attributes={"a": "channels"}),
    neuron("Linear", attributes={"a": 1.5, "b": 0.5}),
    neuron("Sigmoid"),
    neuron("HardSigmoid", attributes={"a": 1 / 6, "b": 0.5}),
    neuron("TanH"),
    neuron("Absolute"),
    neuron("SoftPlus"),
    neuron("SoftSign"),
    neuron("ELU"),
    neuron("Power", attributes={"a": 1.0, "b": 0.0, "c": 1.7}, positive=True),
    neuron("Exponential"),
    neuron("Logarithm", positive=True),
    neuron("GeLU"),
]

CONVOLUTIONS = [
    NodeCase("ConvolutionNode", CONVOLVED, weights=Weights(3), variant="3x3"),
    NodeCase("ConvolutionNode", CONVOLVED, weights=Weights(1), variant="1x1"),
    NodeCase(
        "ConvolutionNode", CONVOLVED, weights=Weights(3, is_depthwise=True), variant="depthwise"
    ),
    NodeCase("ConvolutionTransposeNode", CONVOLVED, weights=Weights(2, stride=2)),
    NodeCase(
        "BinaryConvolutionNode",
        CONVOLVED,
        weights=Weights(3),
        peer="conv2d with weights of 1 and -1 made before",
    ),
    NodeCase(
        "BinaryFullyConnectedNode",
        FEATURES,
        weights=Weights(1),
        peer="linear with weights of 1 and -1 made before",
    ),
    NodeCase("FullyConnectedNode", FEATURES, weights=Weights(1)),
]

WINDOW = {"kernel_width": 2}
POOLINGS = [
    NodeCase("PoolingMaxNode", attributes=WINDOW, variant="2x2"),
    NodeCase(
        "PoolingMaxNode",
        attributes={"kernel_width": 3, "stride_in_pixels_x": 1, "stride_in_pixels_y": 1},
        variant="3x3/1",
    ),
    NodeCase("PoolingAverageNode", attributes=WINDOW, variant="2x2"),
    NodeCase(
        "PoolingAverageNode",
        attributes={"kernel_width": 3, "stride_in_pixels_x": 1, "stride_in_pixels_y": 1},
        variant="3x3/1",
    ),
    NodeCase("PoolingL2NormNode", attributes=WINDOW),
    NodeCase(
        "DilatedPoolingMaxNode",
        attributes={
            "kernel_width": 3,
            "stride_in_pixels_x": 1,
            "stride_in_pixels_y": 1,
            "dilation_rate_x": 2,
            "dilation_rate_y": 2,
        },
    ),
]

RESIZES = [
    NodeCase(
        "UpsamplingNearestNode",
        attributes={"integer_scale_factor_x": 2},
        moved=Moved((1, 1), (1, 1)),
    ),
    NodeCase(
        "UpsamplingBilinearNode",
        attributes={"integer_scale_factor_x": 2},
        moved=Moved((1, 1), (1, 1)),
        same_values=False,
        peer="interpolate reads other positions",
    ),
    NodeCase(
        "UpsamplingBilinearNode",
        attributes={"integer_scale_factor_x": 2, "align_corners": True},
        variant="corners",
        moved=Moved((1, 1), (1, 1)),
    ),
    NodeCase(
        "BilinearScaleNode",
        attributes={"result_width": "double", "result_height": "double"},
    ),
    NodeCase(
        "LanczosScaleNode",
        attributes={"result_width": "half", "result_height": "half"},
        peer="none: PyTorch has no Lanczos filter",
    ),
]

BROADCAST: dict[str, tuple[Size, ...]] = {
    size: (images[0], (1, 1, 1, images[0][3])) for size, images in IMAGES.items()
}
ARITHMETIC = [
    NodeCase("AdditionNode", PAIRS, moved=Moved((2, 1), (2, 1))),
    NodeCase("AdditionNode", BROADCAST, variant="a channel", moved=Moved((1, 1), (1, 1))),
    NodeCase("SubtractionNode", PAIRS, moved=Moved((2, 1), (2, 1))),
    NodeCase("MultiplicationNode", PAIRS, moved=Moved((2, 1), (4, 1))),
    NodeCase("DivisionNode", PAIRS, positive=True, moved=Moved((2, 1), (4, 1))),
    NodeCase(
        "ComparisonNode",
        PAIRS,
        attributes={"comparison_type": 2},
        moved=Moved((2, 1)),
        peer="lt makes bytes; its result becomes float32",
    ),
]

REDUCTIONS = [
    *(
        NodeCase(f"Reduction{axis}{kind}Node")
        for axis in ("Row", "Column", "FeatureChannels")
        for kind in ("Min", "Max", "Mean", "Sum")
    ),
    NodeCase("ReductionFeatureChannelsArgumentMinNode"),
    NodeCase("ReductionFeatureChannelsArgumentMaxNode"),
    NodeCase("ReductionSpatialMeanNode"),
]

SHAPES = [
    NodeCase(
        "PadNode",
        attributes={
            "padding_size_before_x": 1,
            "padding_size_before_y": 1,
            "padding_size_after_x": 1,
            "padding_size_after_y": 1,
        },
        variant="constant",
    ),
    NodeCase(
        "PadNode",
        attributes={
            "padding_size_before_x": 1,
            "padding_size_before_y": 1,
            "padding_size_after_x": 1,
            "padding_size_after_y": 1,
            "edge_mode": 2,
        },
        variant="mirror",
    ),
    NodeCase(
        "CropNode",
        attributes={
            "result_width": "half",
            "result_height": "half",
            "origin_x": 3,
            "origin_y": 2,
        },
        peer="a contiguous copy of the slice",
    ),
    NodeCase(
        "ReshapeNode",
        attributes={
            "result_width": "half",
            "result_height": "double",
            "result_feature_channels": "same",
        },
        peer="a copy of the values: PyTorch makes a view",
    ),
    NodeCase("ConcatenationNode", PAIRS),
]

NORMALIZATIONS = [
    NodeCase("BatchNormalizationNode", attributes={"flags": 1}, moved=Moved((2, 1), (5, 3))),
    NodeCase("InstanceNormalizationNode", moved=Moved((2, 1), (5, 3))),
    NodeCase("GroupNormalizationNode", moved=Moved((2, 1), (5, 3))),
    NodeCase(
        "SpatialNormalizationNode",
        attributes={"kernel_width": 5, "beta": 0.75},
        moved=Moved((1, 1), (2, 1)),
        peer="written with avg_pool2d",
    ),
    NodeCase(
        "LocalContrastNormalizationNode",
        attributes={"kernel_width": 5},
        moved=Moved((1, 1), (2, 1)),
        peer="written with avg_pool2d",
    ),
    NodeCase(
        "CrossChannelNormalizationNode",
        attributes={"beta": 0.75},
        moved=Moved((1, 1), (2, 1)),
    ),
]

SUMMED = {"reduction_type": 1, "reduce_across_batch": True}
OTHERS = [
    NodeCase("GramMatrixCalculationNode", moved=Moved((1, 1), (2, 0))),
    NodeCase(
        "DropoutNode",
        attributes={"keep_probability": 0.5},
        moved=Moved((1, 1), (1, 1)),
        same_values=False,
        peer="its own random numbers, and a stored mask",
    ),
    NodeCase("SoftMaxNode", moved=Moved((1, 1), (2, 3))),
    NodeCase("SoftMaxNode", CLASSES, variant="classes", moved=Moved((1, 1), (2, 3))),
    NodeCase("LogSoftMaxNode", CLASSES, moved=Moved((1, 1), (2, 3))),
    NodeCase("ForwardLossNode", PAIRS, {"loss_type": 1, **SUMMED}, variant="squared"),
    NodeCase("ForwardLossNode", LABELLED, {"loss_type": 2, **SUMMED}, variant="softmax"),
    NodeCase("LossNode", PAIRS, {"loss_type": 1, "reduction_type": 1}, variant="squared"),
    NodeCase("LossNode", LABELLED, {"loss_type": 2, "reduction_type": 1}, variant="softmax"),
    NodeCase(
        "YOLOLossNode",
        BOXES,
        {"anchor_boxes": [1.0, 1.5, 3.0, 2.0, 5.0, 6.0]},
        peer="none: PyTorch has no such loss",
    ),
    NodeCase("InitialGradientNode"),
]

CASES = [
    *CONVOLUTIONS,
    *NEURONS,
    *POOLINGS,
    *RESIZES,
    *ARITHMETIC,
    *REDUCTIONS,
    *SHAPES,
    *NORMALIZATIONS,
    *OTHERS,
]
