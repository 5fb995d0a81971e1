# SPDX-License-Identifier: MIT
"""The two nets: one makes a vector of a picture, one makes words of the vector.

The feature net is a graph: convolutions that are trained here, or Inception-v3 with given weights
that stay; a trained fully connected layer follows. Its result, (N, 1, 1, embedding), is added to
the embedding of every word. The decoder is an LSTM on matrices with a fully connected layer to the
words' scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.initializers import RandomNumbers, glorot_uniform, he_normal, normal, orthogonal
from mpsnn.models import inception_v3, load_state_dict

FloatArray = NDArray[np.float32]

SMALL, INCEPTION = "small", "inception"
INCEPTION_CLASSES, INCEPTION_FEATURES, INCEPTION_SMALLEST = 1000, 2048, 75

CLASSIFIERS = ("fc.", "AuxLogits.")  # parts of Inception-v3 that are not used here

# In the order of the LSTM's weights on the device; the cell gate has a tanh, the others sigmoids.
GATES = ("input", "forget", "cell", "output")
STORE = "decoder"


@dataclass(frozen=True)
class ModelOptions:
    """Size of the nets.

    Args:
        features: "small": convolutions that are trained; "inception": Inception-v3, which stays.
        size: Height and width of the pictures.
        widths: Channels of the small net's convolutions; each halves the picture.
        embedding: Length of a word's vector, and of a picture's.
        hidden: Output channels of the LSTM.
        seed: Seed of the first weights.
    """

    features: str = SMALL
    size: int = 48
    widths: tuple[int, ...] = (24, 48, 64)
    embedding: int = 128
    hidden: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.features not in {SMALL, INCEPTION}:
            raise mps.InvalidArgumentError(
                f"features: expected {SMALL} or {INCEPTION}, got {self.features!r}"
            )
        if not self.widths or min(*self.widths, self.embedding, self.hidden) < 1:
            raise mps.InvalidArgumentError(
                "widths, embedding, hidden: expected 1 channel or more, got "
                f"{self.widths}, {self.embedding}, {self.hidden}"
            )
        divisor = 1 << len(self.widths)
        if self.features == SMALL and (self.size < divisor or self.size % divisor):
            raise mps.InvalidArgumentError(
                f"size: expected a multiple of {divisor} ({len(self.widths)} convolutions halve "
                f"it), got {self.size}"
            )
        if self.features == INCEPTION and self.size < INCEPTION_SMALLEST:
            raise mps.InvalidArgumentError(
                f"size: expected {INCEPTION_SMALLEST} or more for Inception-v3, got {self.size}"
            )

    @property
    def head_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the trained part of the feature net takes."""
        if self.features == INCEPTION:
            return (1, 1, INCEPTION_FEATURES)
        return (self.size, self.size, 3)


@dataclass
class FeatureNet:
    """The feature net's graphs.

    Attributes:
        whole: From "pictures" (N, size, size, 3) to "vector" (N, 1, 1, embedding).
        base: From "pictures" to what the trained part takes; None where that is the pictures.
        head: The trained part, from "head" to "vector".
        training: From "head" and "gradient", the loss's gradient of the vector, to new weights.
    """

    whole: mps.Graph
    base: mps.Graph | None
    head: mps.Graph
    training: mps.Graph


def check_weights(options: ModelOptions, *, given: bool, fresh: bool = False) -> None:
    """Tells whether a feature net takes weights.

    Args:
        options: Says which net it is.
        given: There are some.
        fresh: The net begins with them: no archive has it.

    Raises:
        InvalidArgumentError: There are some for the small net, which is trained here, or none for
            a fresh Inception-v3.
    """
    if given and options.features == SMALL:
        raise mps.InvalidArgumentError(
            f"weights: expected none for the features '{SMALL}', which are trained here, got some: "
            f"they are Inception-v3's (--features {INCEPTION})"
        )
    if fresh and not given and options.features == INCEPTION:
        raise mps.InvalidArgumentError(
            "features: expected the weights of Inception-v3 (--weights FILE), got none"
        )


def build_features(
    device: mps.Device,
    options: ModelOptions,
    optimizer: mps.Optimizer | None,
    weights: Mapping[str, NDArray[np.floating]] | str | None = None,
) -> FeatureNet:
    """Makes the feature net with fresh weights.

    The gradient of the vector comes from the decoder, outside of the graph: the training graph has
    it as a source. What it needs of the way forward it computes once more.

    Args:
        device: Where it shall run.
        options: Its size.
        optimizer: Updates the trained part.
        weights: Of Inception-v3, as `load_state_dict` takes them.

    Returns:
        The graphs; they share their data sources.

    Raises:
        InvalidArgumentError: Inception-v3 without weights or with ones that do not fit, or the
            small net, whose weights are trained here, with some.
    """
    check_weights(options, given=weights is not None, fresh=True)
    trained = _TrainedPart(options, optimizer)
    last = trained.build(mps.ImageNode("head")).training_graph(mps.ImageNode("gradient"))
    training = mps.Graph(device, [last[0].result_image], results_are_needed=[False])
    head = mps.Graph(device, [_named(trained.build(mps.ImageNode("head")).result_image)])
    pictures = mps.ImageNode("pictures")
    if weights is None:
        return FeatureNet(
            mps.Graph(device, [_named(trained.build(pictures).result_image)]), None, head, training
        )
    net = inception_v3(pictures, classes=INCEPTION_CLASSES, size=(options.size, options.size))
    missing = [
        name
        for name in load_state_dict(net, weights, strict=False)
        if not name.startswith(CLASSIFIERS)
    ]
    if missing:
        raise mps.InvalidArgumentError(
            f"features: expected Inception-v3's weights by torchvision's names, missing or not "
            f"expected are {len(missing)}: {', '.join(missing[:3])} …"
        )
    for name, source in net.data_sources.items():
        if not all(np.isfinite(source.initial(part)).all() for part in source.parameters):
            raise mps.InvalidArgumentError(
                f"features: {name}: expected finite numbers, got nan or inf"
            )
    pooled = net.activations["avgpool"]
    base = mps.Graph(device, [_named(pooled, "head")])
    return FeatureNet(
        mps.Graph(device, [_named(trained.build(pooled).result_image)]), base, head, training
    )


def _named(image: mps.ImageNode, handle: str = "vector") -> mps.ImageNode:
    image.handle = handle
    return image


class _TrainedPart:
    """The trained layers; each `build` makes new nodes over the same weights."""

    def __init__(self, options: ModelOptions, optimizer: mps.Optimizer | None) -> None:
        numbers = RandomNumbers(options.seed)
        self._optimizer, self._numbers = optimizer, numbers
        self._layers: list[tuple[mps.ConvolutionDataSource, mps.InstanceNormalizationDataSource]]
        self._layers = []
        edge, _, channels = options.head_shape
        if options.features == SMALL:
            for stage, width in enumerate(options.widths):
                self._layers.append(self._layer(f"convolution{stage}", channels, width, 2))
                channels, edge = width, edge // 2
            self._layers.append(self._layer("context", channels, channels, 1))
        shape = (options.embedding, edge, edge, channels)
        self._vector = mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(edge, edge, channels, options.embedding),
            normal(shape, numbers, standard_deviation=math.prod(shape[1:]) ** -0.5),
            np.zeros(options.embedding, np.float32),
            "vector",
            optimizer,
        )

    def _layer(
        self, label: str, inputs: int, outputs: int, stride: int
    ) -> tuple[mps.ConvolutionDataSource, mps.InstanceNormalizationDataSource]:
        convolution = mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(
                3, 3, inputs, outputs, stride_in_pixels_x=stride, stride_in_pixels_y=stride
            ),
            he_normal((outputs, 3, 3, inputs), self._numbers),
            label=label,
            optimizer=self._optimizer,
        )
        normalization = mps.InstanceNormalizationDataSource(
            outputs, epsilon=1e-5, label=f"{label}.norm", optimizer=self._optimizer
        )
        return convolution, normalization

    def build(self, image: mps.ImageNode) -> mps.FilterNode:
        for convolution, normalization in self._layers:
            image = mps.ConvolutionNode(image, convolution).result_image
            image = mps.InstanceNormalizationNode(image, normalization).result_image
            image = mps.NeuronReLUNode(image, label=f"{convolution.label}.relu").result_image
        return mps.FullyConnectedNode(image, self._vector)


def parameter_shapes(options: ModelOptions, words: int) -> dict[str, tuple[int, int]]:
    """Rows and columns of the decoder's matrices by name, in their order on the device.

    Those of the LSTM are (outputs, inputs), as its layer takes them; "classifier" is (hidden,
    words), as `MatrixFullyConnected` does; a row of "embedding" is a word.
    """
    shapes: dict[str, tuple[int, int]] = {}
    for gate in GATES:
        shapes[f"{gate}.w"] = (options.hidden, options.embedding)
        shapes[f"{gate}.u"] = (options.hidden, options.hidden)
        shapes[f"{gate}.b"] = (1, options.hidden)
    shapes["embedding"] = (words, options.embedding)
    shapes["classifier"] = (options.hidden, words)
    shapes["classifier.b"] = (1, words)
    return shapes


def first_parameters(options: ModelOptions, words: int) -> dict[str, FloatArray]:
    """Fresh weights of the decoder by name; the forget gate begins open."""
    numbers = RandomNumbers(options.seed + 1)
    shapes = parameter_shapes(options, words)
    values: dict[str, FloatArray] = {}
    for name, shape in shapes.items():
        if name.endswith(".b"):
            values[name] = np.full(shape, float(name == "forget.b"), np.float32)
        elif name.endswith(".u"):
            values[name] = orthogonal(shape, numbers)
        elif name == "embedding":
            values[name] = normal(shape, numbers, standard_deviation=0.3)
        else:
            values[name] = glorot_uniform((shape[0], 1, 1, shape[1]), numbers).reshape(shape)
    return values


class DecoderSources:
    """The decoder's weights as data sources: what the LSTM's layer reads and archives keep.

    Args:
        sources: By label; `from_parameters` and `from_graph` find them.
    """

    def __init__(self, sources: Mapping[str, mps.ConvolutionDataSource]) -> None:
        self.sources = dict(sources)

    @classmethod
    def from_parameters(cls, values: Mapping[str, FloatArray]) -> DecoderSources:
        """New data sources with these weights; see `parameter_shapes`."""
        sources = {}
        for gate in GATES:
            neuron = mps.NeuronType.TANH if gate == "cell" else mps.NeuronType.SIGMOID
            sources[f"{gate}.w"] = _source(
                f"{gate}.w", values[f"{gate}.w"], values[f"{gate}.b"], neuron
            )
            sources[f"{gate}.u"] = _source(f"{gate}.u", values[f"{gate}.u"])
        sources["embedding"] = _source("embedding", values["embedding"])
        sources["classifier"] = _source(
            "classifier", values["classifier"].T, values["classifier.b"]
        )
        return cls(sources)

    @classmethod
    def from_graph(cls, graph: mps.Graph) -> DecoderSources:
        """Those of a graph that `store` made and an archive kept.

        Raises:
            ArchiveError: It lacks some.
        """
        sources = {
            source.label: source
            for source in graph.data_sources
            if isinstance(source, mps.ConvolutionDataSource)
        }
        wanted = [f"{gate}.{role}" for gate in GATES for role in ("w", "u")]
        missing = sorted({*wanted, "embedding", "classifier"} - sources.keys())
        if missing:
            raise mps.ArchiveError(
                f"'{STORE}': expected the decoder's weights, missing are {', '.join(missing)}"
            )
        return cls(sources)

    def lstm(self, options: ModelOptions) -> mps.LSTMDescriptor:
        """The LSTM with these weights."""
        descriptor = mps.LSTMDescriptor(options.embedding, options.hidden)
        for gate in GATES:
            setattr(descriptor, f"{gate}_gate_input_weights", self.sources[f"{gate}.w"])
            setattr(descriptor, f"{gate}_gate_recurrent_weights", self.sources[f"{gate}.u"])
        return descriptor

    def read(self, device: mps.Device) -> dict[str, FloatArray]:
        """The weights on a device, by the names of `parameter_shapes`."""
        values = {}
        for label, source in self.sources.items():
            weights = np.array(device.read_parameter(source, "weights"), np.float32)
            matrix = weights.reshape(weights.shape[0], -1)
            values[label] = np.ascontiguousarray(matrix.T) if label == "classifier" else matrix
            if "bias" in source.parameters:
                bias = np.array(device.read_parameter(source, "bias"), np.float32)
                values[_bias_name(label)] = bias.reshape(1, -1)
        return values

    def write(self, device: mps.Device, values: Mapping[str, FloatArray]) -> None:
        """Gives a device other weights."""
        for label, source in self.sources.items():
            matrix = values[label].T if label == "classifier" else values[label]
            shape = (matrix.shape[0], 1, 1, matrix.shape[1])
            device.write_parameter(source, "weights", np.ascontiguousarray(matrix).reshape(shape))
            if "bias" in source.parameters:
                device.write_parameter(source, "bias", values[_bias_name(label)].reshape(-1))


def _bias_name(label: str) -> str:
    return "classifier.b" if label == "classifier" else f"{label.partition('.')[0]}.b"


def _source(
    label: str,
    matrix: FloatArray,
    bias: FloatArray | None = None,
    neuron: mps.NeuronType | None = None,
) -> mps.ConvolutionDataSource:
    outputs, inputs = matrix.shape
    descriptor = mps.ConvolutionDescriptor(1, 1, inputs, outputs)
    if neuron is not None:
        descriptor.fused_neuron_descriptor = mps.NeuronDescriptor(neuron, 1.0, 1.0)
    weights = np.ascontiguousarray(matrix, np.float32).reshape(outputs, 1, 1, inputs)
    return mps.ConvolutionDataSource(
        descriptor, weights, None if bias is None else bias.reshape(-1), label
    )


def store(device: mps.Device, sources: Mapping[str, mps.ConvolutionDataSource]) -> mps.Graph:
    """A graph that holds data sources, for an archive: each is a 1 x 1 convolution of its own.

    Args:
        device: The device whose weights are kept.
        sources: The data sources by label.

    Returns:
        The graph.
    """
    nodes = [mps.ConvolutionNode(mps.ImageNode(name), one) for name, one in sources.items()]
    return mps.Graph(device, [node.result_image for node in nodes])
