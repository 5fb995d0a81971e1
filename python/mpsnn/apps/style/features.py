# SPDX-License-Identifier: MIT
"""The feature net: VGG-16's convolutions, trained elsewhere or random, and never changed here.

Its poolings take the average, which suits textures better than the largest value (Gatys et al.
2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.initializers import RandomNumbers, normal
from mpsnn.models import load_state_dict, vgg16
from mpsnn.models.tensor_files import read_tensors
from mpsnn.models.vgg import BLOCKS

# What torchvision's weights were trained on: the pictures' mean and deviation, by colour.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYER = "relu3_3"
COLOUR_LAYER = "colour"  # a style layer beside those of VGG-16
RANDOM_WIDTH = 32

SMALLEST_DEVIATION = 1e-3  # of a filter that answers to nothing in a picture


class FeatureNet:
    """VGG-16 up to its last convolution, to be applied to any number of images.

    All applications share one set of data sources, which have no optimizer: a training graph goes
    through them and computes no gradient of theirs.

    Args:
        width: Channels of the first block; VGG-16 has 64.
        seed: Fixes random weights.
    """

    def __init__(self, width: int = RANDOM_WIDTH, seed: int = 0) -> None:
        # Only the convolutions are used: of the rest the smallest is made.
        self._net = vgg16(
            mps.ImageNode(), classes=1, size=(32, 32), grid=(1, 1), width=width, hidden=1, seed=seed
        )
        self.width = width
        self.is_random = True
        self._set_random(seed)
        scale = np.diag(1.0 / DEVIATION).astype(np.float32).reshape(3, 1, 1, 3)
        self._standard = mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 3, 3), scale, -MEAN / DEVIATION, "standardise"
        )
        self._colours = mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 3, 4),
            np.concatenate([scale, np.zeros((1, 1, 1, 3), np.float32)]),
            np.append(-MEAN / DEVIATION, np.float32(1)),
            "colours",
        )

    @classmethod
    def from_file(cls, path: str | Path) -> FeatureNet:
        """VGG-16 with weights from a file.

        Args:
            path: torchvision's state dict of `vgg16`: .safetensors, or PyTorch's own format (.pt,
                .pth), for which PyTorch must be installed.

        Returns:
            The net.

        Raises:
            FileError: The file cannot be read.
            InvalidArgumentError: It holds other tensors than VGG-16's, or numbers that are none.
            MissingPackageError: A package is missing that reads it.
        """
        tensors = {
            name: tensor
            for name, tensor in read_tensors(path, "style").items()
            if name.startswith("features.")
        }
        first = tensors.get("features.0.weight")
        if first is None or first.ndim != 4:
            raise mps.InvalidArgumentError(
                f"{path}: expected VGG-16's weights as torchvision names them, got no "
                "'features.0.weight' of 4 dimensions"
            )
        net = cls(first.shape[0])
        try:
            missing = load_state_dict(net._net, tensors, strict=False)
        except mps.InvalidArgumentError as error:
            raise mps.InvalidArgumentError(f"{path}: {error}") from error
        wrong = [name for name in missing if name.startswith("features.")]
        if wrong:
            raise mps.InvalidArgumentError(
                f"{path}: expected VGG-16's convolutions, missing or not expected: "
                f"{', '.join(wrong)}"
            )
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise mps.InvalidArgumentError(
                    f"{path}: {name}: expected finite numbers, got nan or inf"
                )
        net.is_random = False
        return net

    @property
    def data_sources(self) -> dict[str, mps.DataSource]:
        """The convolutions by torchvision's names."""
        return {n: s for n, s in self._net.data_sources.items() if n.startswith("features.")}

    def __call__(
        self, image: mps.ImageNode | mps.FilterNode, layers: Sequence[str], label: str
    ) -> dict[str, mps.ImageNode]:
        """Applies the net to an image.

        Args:
            image: (N, H, W, 3), 0 to 1.
            layers: Names as "relu1_2": which features are wanted.
            label: Begins the new nodes' labels.

        Returns:
            The features by layer.

        Raises:
            InvalidArgumentError: There is no such layer.
        """
        found: dict[str, mps.ImageNode] = {}
        names = [f"{b}_{n + 1}" for b, count in enumerate(BLOCKS[16], 1) for n in range(count)]
        for name, (_, relu) in zip(names, self._walk(image, label), strict=False):
            if f"relu{name}" in layers:
                found[f"relu{name}"] = relu.result_image
            if len(found) == len(layers):
                return found
        raise mps.InvalidArgumentError(
            f"layers: expected some of VGG-16's, as relu1_2, got {', '.join(layers)}"
        )

    def colours(self, image: mps.ImageNode, label: str) -> mps.ImageNode:
        """An image's colours as a layer, whose Gram matrix holds their means and covariances.

        Args:
            image: (N, H, W, 3), 0 to 1.
            label: Begins the new node's label.

        Returns:
            (N, H, W, 4): the standardised colours, and a constant 1, by which means count.
        """
        node = mps.ConvolutionNode(image, self._colours, label=f"{label}.{COLOUR_LAYER}")
        return node.result_image

    def standardise(self, device: mps.Device, pictures: NDArray[np.float32]) -> None:
        """Scales and shifts each random filter to mean 0 and deviation 1 on the styles' pictures.

        Without it the deeper layers see little but how bright a picture is. Trained weights stay.

        Args:
            device: Where it is computed and will be used.
            pictures: (N, H, W, 3), 0 to 1.
        """
        if not self.is_random:
            return
        queue = device.command_queue("features")
        image = mps.ImageNode("picture")
        for name, node in self._convolutions(image):
            graph = mps.Graph(device, [node.result_image])
            commands = mps.CommandBuffer(queue)
            outputs = graph.encode(commands, {"picture": pictures})
            commands.commit()
            commands.wait_until_completed()
            values = np.array(outputs[0], np.float64)
            mean, deviation = values.mean((0, 1, 2)), values.std((0, 1, 2)) + SMALLEST_DEVIATION
            source = self.data_sources[name]
            weights = source.initial("weights") / deviation[:, None, None, None]
            for parameter, array in (("weights", weights), ("bias", -mean / deviation)):
                source.set_initial(parameter, array.astype(np.float32))
                device.write_parameter(source, parameter, array.astype(np.float32))

    def _convolutions(self, image: mps.ImageNode) -> Iterator[tuple[str, mps.FilterNode]]:
        """The convolution nodes up to the last style layer, with their data sources' names."""
        nodes = self._walk(image, "features")
        for name, (node, _) in zip(self.data_sources, nodes, strict=False):
            yield name, node
            if node.label.endswith(f"conv{STYLE_LAYERS[-1].removeprefix('relu')}"):
                return

    def _walk(
        self, image: mps.ImageNode | mps.FilterNode, label: str
    ) -> Iterator[tuple[mps.FilterNode, mps.FilterNode]]:
        """Convolution and ReLU nodes, in order; each pair is made when it is asked for."""
        x: mps.FilterNode = mps.ConvolutionNode(image, self._standard, label=f"{label}.standardise")
        sources = iter(self.data_sources.values())
        for block, count in enumerate(BLOCKS[16], 1):
            for layer in range(1, count + 1):
                source = cast("mps.ConvolutionDataSource", next(sources))
                x = mps.ConvolutionNode(x, source, label=f"{label}.conv{block}_{layer}")
                relu = mps.NeuronReLUNode(x, label=f"{label}.relu{block}_{layer}")
                yield x, relu
                x = relu
            x = mps.PoolingAverageNode(x, 2, label=f"{label}.pool{block}")

    def _set_random(self, seed: int) -> None:
        """Centred filters: every other one of the first layer, which sees colours, is not."""
        numbers = RandomNumbers(seed)
        for index, source in enumerate(self.data_sources.values()):
            shape = tuple(source.parameters["weights"])
            weights = normal(shape, numbers, 0.0, float(np.sqrt(2.0 / np.prod(shape[1:]))))
            # Half of the filters see no flat area, the others no common brightness.
            weights[::2] -= weights[::2].mean((1, 2), keepdims=True)
            if index > 0:
                weights[1::2] -= weights[1::2].mean((1, 2, 3), keepdims=True)
            source.set_initial("weights", weights)


def scale_at(layer: str) -> int:
    """What a layer's height and width are divided by: two to the number of poolings before it."""
    if layer == COLOUR_LAYER:
        return 1
    return 1 << (int(layer.removeprefix("relu").partition("_")[0]) - 1)
