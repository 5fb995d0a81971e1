# SPDX-License-Identifier: MIT
"""The transformer net, and the training graph of style transfer.

Convolutions with instance normalisations halve a picture twice, residual blocks work on it, and
upsamplings with convolutions bring it back (Johnson et al. 2016). All styles share the
convolutions; each has its own scales and shifts of the normalisations (Dumoulin et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import mpsnn as mps
from mpsnn.apps.style.features import (
    COLOUR_LAYER,
    CONTENT_LAYER,
    STYLE_LAYERS,
    FeatureNet,
    scale_at,
)
from mpsnn.initializers import RandomNumbers, he_normal

COLOURS = 3
DIVISOR = 4  # two convolutions of stride 2
SMALLEST = 16
EPSILON = 1e-5
LAST = "rgb"
LAST_SCALE = 0.3  # of the last convolution's first weights: the first pictures are grey


@dataclass(frozen=True)
class ModelOptions:
    """Size of the net.

    Args:
        width: Channels at full size; twice and four times as many where the picture is halved.
        residuals: Residual blocks.
        styles: Number of styles.
        seed: Seed of the first weights.
    """

    width: int = 16
    residuals: int = 4
    styles: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("residuals", 0), ("styles", 1)):
            if getattr(self, name) < least:
                raise mps.InvalidArgumentError(
                    f"style: {name}: expected {least} or more, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses.

    Args:
        style: Weight of each Gram matrix' squared error, as a share of the style's squared matrix.
        content: Weight of the content features' mean squared error, as a share of the mean square
            of the style's features.
    """

    style: float = 2.0
    content: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in (("style", self.style), ("content", self.content)):
            if not 0.0 <= weight < math.inf:
                raise mps.InvalidArgumentError(
                    f"style: weight of the {name} loss: expected a finite number from 0 on, got "
                    f"{weight}"
                )


class Transformer:
    """The net's weights; applied to an image, its nodes.

    Args:
        options: The net's size.
        optimizer: Updates all weights where a training graph is made; None: they stay.
    """

    def __init__(self, options: ModelOptions, optimizer: mps.Optimizer | None = None) -> None:
        self.options = options
        self._optimizer = optimizer
        self._numbers = RandomNumbers(options.seed)
        self.convolutions: dict[str, mps.ConvolutionDataSource] = {}
        self.normalizations: dict[str, list[mps.InstanceNormalizationDataSource]] = {}
        w = options.width
        self._add("down0", 9, COLOURS, w)
        self._add("down1", 3, w, 2 * w, stride=2)
        self._add("down2", 3, 2 * w, 4 * w, stride=2)
        for block in range(options.residuals):
            self._add(f"residual{block}.0", 3, 4 * w, 4 * w)
            self._add(f"residual{block}.1", 3, 4 * w, 4 * w)
        self._add("up1", 3, 4 * w, 2 * w)
        self._add("up0", 3, 2 * w, w)
        self._add(LAST, 9, w, COLOURS)

    def _add(self, name: str, kernel: int, inputs: int, outputs: int, stride: int = 1) -> None:
        descriptor = mps.ConvolutionDescriptor(
            kernel, kernel, inputs, outputs, stride_in_pixels_x=stride, stride_in_pixels_y=stride
        )
        weights = he_normal((outputs, kernel, kernel, inputs), self._numbers)
        bias = np.zeros(outputs, np.float32)
        if name == LAST:
            self._add_convolution(name, descriptor, LAST_SCALE * weights, bias)
            return
        # A normalisation takes a bias off again.
        self._add_convolution(name, descriptor, weights, None)
        self.normalizations[name] = [
            mps.InstanceNormalizationDataSource(
                outputs,
                epsilon=EPSILON,
                label=f"{name}.normalization.{style}",
                optimizer=self._optimizer,
            )
            for style in range(self.options.styles)
        ]

    def _add_convolution(
        self,
        name: str,
        descriptor: mps.ConvolutionDescriptor,
        weights: np.ndarray,
        bias: np.ndarray | None,
    ) -> None:
        self.convolutions[name] = mps.ConvolutionDataSource(
            descriptor, weights, bias, name, self._optimizer
        )

    def __call__(self, picture: mps.ImageNode, style: int = 0) -> mps.ImageNode:
        """Applies the net to a picture.

        Args:
            picture: (N, H, W, 3), 0 to 1; height and width are multiples of `DIVISOR`.
            style: Which style, counted from 0.

        Returns:
            The stylised picture, of the same size, 0 to 1.
        """
        x: mps.ImageNode = picture
        for name in ("down0", "down1", "down2"):
            x = self._layer(x, name, style)
        for block in range(self.options.residuals):
            y = self._layer(x, f"residual{block}.0", style)
            y = self._layer(y, f"residual{block}.1", style, relu=False)
            x = mps.AdditionNode(x, y, label=f"residual{block}").result_image
        for name in ("up1", "up0"):
            up = mps.UpsamplingBilinearNode(x, 2, label=f"{name}.upsampling")
            x = self._layer(up.result_image, name, style)
        last = mps.ConvolutionNode(x, self.convolutions[LAST], label=LAST)
        return mps.NeuronSigmoidNode(last, label="stylised").result_image

    def _layer(
        self, image: mps.ImageNode, name: str, style: int, *, relu: bool = True
    ) -> mps.ImageNode:
        x = mps.ConvolutionNode(image, self.convolutions[name], label=name)
        source = self.normalizations[name][style]
        y = mps.InstanceNormalizationNode(x, source, label=f"{name}.normalization")
        return mps.NeuronReLUNode(y, label=f"{name}.relu").result_image if relu else y.result_image


def check_size(height: int, width: int) -> None:
    """Checks that the net can take a picture.

    Raises:
        InvalidArgumentError: Height or width is no multiple of 4, or too small.
    """
    if height % DIVISOR or width % DIVISOR or min(height, width) < SMALLEST:
        raise mps.InvalidArgumentError(
            f"style: height and width: expected multiples of {DIVISOR} from {SMALLEST} on, "
            f"got {height} x {width}"
        )


def build_inference(device: mps.Device, net: Transformer, style: int) -> mps.Graph:
    """Compiles the net for use.

    Args:
        device: Where it shall run.
        net: The net.
        style: Which style.

    Returns:
        A graph from "content" to "stylised", (N, H, W, 3) both.
    """
    output = net(mps.ImageNode("content"), style)
    output.handle = "stylised"
    return mps.Graph(device, [output])


def _grams(
    features: FeatureNet,
    image: mps.ImageNode,
    found: dict[str, mps.ImageNode],
    size: tuple[int, int],
    label: str,
) -> dict[str, mps.ImageNode]:
    """Gram matrices of an image's colours and features, by layer."""
    layers = {COLOUR_LAYER: features.colours(image, label), **found}

    def gram(layer: str) -> mps.ImageNode:
        pixels = (size[0] // scale_at(layer)) * (size[1] // scale_at(layer))
        label_of_gram = f"{label}.gram.{layer}"
        return mps.GramMatrixCalculationNode(
            layers[layer], 1.0 / pixels, label=label_of_gram
        ).result_image

    return {layer: gram(layer) for layer in (COLOUR_LAYER, *STYLE_LAYERS)}


def build_targets(device: mps.Device, features: FeatureNet, size: tuple[int, int]) -> mps.Graph:
    """Compiles what makes the style losses' labels of a style's picture.

    Args:
        device: Where it shall run.
        features: The feature net.
        size: Height and width of the style's picture.

    Returns:
        A graph from "style" (1, H, W, 3) to the Gram matrices, by names as "gram.relu1_2".
    """
    picture = mps.ImageNode("style")
    found = features(picture, STYLE_LAYERS, "style")
    grams = _grams(features, picture, found, size, "style")
    for layer, image in grams.items():
        image.handle = f"gram.{layer}"
    return mps.Graph(device, list(grams.values()))


def build_training(
    device: mps.Device,
    net: Transformer,
    features: FeatureNet,
    targets: Mapping[str, np.ndarray],
    style: int,
    batch: int,
    size: tuple[int, int],
    losses: LossOptions,
) -> mps.Graph:
    """Compiles the net with its losses and the training graph that they imply.

    The feature net is applied to the stylised picture and to the content. The squared errors of
    the Gram matrices of four layers and of the colours, whose labels are images, and of one layer's
    features are added; one walk back from there goes through the feature net, whose weights have no
    gradient, and ends behind the transformer's first convolution. Each error is taken as a share of
    what the style's picture has there: no layer outweighs the others.

    Args:
        device: Where it shall run.
        net: The net; its data sources carry the optimizer.
        features: The feature net.
        targets: The style's Gram matrices, as `build_targets` makes them.
        style: Which style is trained.
        batch: Pictures of a step.
        size: Height and width in pixels.
        losses: Weights of the losses.

    Returns:
        A graph of "content" (N, H, W, 3) and "gram.colour", "gram.relu1_2" … (N, 1, C, C) that
        exports "loss", one value an image; their sum is the mean over the batch.
    """
    content = mps.ImageNode("content")
    content.stop_gradient = True
    stylised = net(content, style)
    wanted = features(content, (CONTENT_LAYER,), "content")[CONTENT_LAYER]
    found = features(stylised, STYLE_LAYERS, "stylised")

    def squared_error(
        image: mps.ImageNode, target: mps.ImageNode, weight: float, label: str
    ) -> mps.ImageNode:
        descriptor = mps.LossDescriptor(
            mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=weight
        )
        return mps.ForwardLossNode(image, target, descriptor, label=label).result_image

    pixels = (size[0] // scale_at(CONTENT_LAYER)) * (size[1] // scale_at(CONTENT_LAYER))
    own = float(np.trace(np.squeeze(targets[f"gram.{CONTENT_LAYER}"])))  # a pixel's squares
    weight = losses.content / (batch * pixels * own)
    loss = squared_error(found[CONTENT_LAYER], wanted, weight, "loss.content")
    for layer, gram in _grams(features, stylised, found, size, "stylised").items():
        own = float(np.square(targets[f"gram.{layer}"], dtype=np.float64).sum())
        weight = losses.style / (batch * own)
        part = squared_error(gram, mps.ImageNode(f"gram.{layer}"), weight, f"loss.style.{layer}")
        loss = mps.AdditionNode(loss, part, label=f"loss.{layer}").result_image
    loss.handle, loss.export_from_graph = "loss", True
    last = mps.InitialGradientNode(loss, label="start").training_graph()
    return mps.Graph(
        device, [node.result_image for node in last], results_are_needed=[False] * len(last)
    )


def repeated(targets: Mapping[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """A style's Gram matrices for each picture of a batch."""
    return {name: np.repeat(array, batch, axis=0) for name, array in targets.items()}
