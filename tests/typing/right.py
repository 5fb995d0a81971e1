# SPDX-License-Identifier: MIT
"""A program as a user writes it, with types everywhere: mypy --strict finds nothing in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import assert_type

import mpsnn as mps

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Settings(mps.SecureCoding):
    """An object of one's own in an archive."""

    def __init__(self, exposure: float) -> None:
        self.exposure = exposure

    def encode(self, coder: mps.Coder) -> None:
        """Stores the exposure."""
        coder.encode("exposure", self.exposure)

    @classmethod
    def decode(cls, coder: mps.Coder) -> Settings:
        """Reads it again."""
        exposure = coder.decode("exposure")
        assert isinstance(exposure, float)
        return cls(exposure)


def weights(inputs: int, outputs: int, optimizer: mps.Optimizer) -> mps.ConvolutionDataSource:
    """Random weights."""
    descriptor = mps.ConvolutionDescriptor(3, 3, inputs, outputs, stride_in_pixels_x=1)
    values = np.random.default_rng(1).standard_normal(descriptor.weight_shape, np.float32)
    return mps.ConvolutionDataSource(descriptor, values, label="first", optimizer=optimizer)


def build(device: mps.Device) -> mps.Graph:
    """A graph that trains."""
    noisy, clean = mps.ImageNode("noisy"), mps.ImageNode("clean")
    convolution = mps.ConvolutionNode(noisy, weights(3, 3, mps.OptimizerAdam(1e-3)))
    relu = mps.NeuronReLUNode(convolution.result_image, a=0.1)
    descriptor = mps.LossDescriptor(mps.LossType.MEAN_ABSOLUTE_ERROR)
    loss = mps.ForwardLossNode(relu, clean, descriptor)
    loss.result_image.handle = "loss"
    ends = mps.InitialGradientNode(loss).training_graph()
    assert_type(ends, list[mps.FilterNode])
    results = [loss.result_image, *(end.result_image for end in ends)]
    return mps.Graph(device, results, [True] + [False] * len(ends))


def train(graph: mps.Graph, images: NDArray[np.float32]) -> float:
    """One step."""
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, {"noisy": images, "clean": images})
    assert_type(outputs, mps.GraphOutputs)
    assert_type(outputs["loss"], mps.Image)
    commands.commit()
    loss = outputs["loss"].read()
    return float(loss.mean())


def archive(graph: mps.Graph, path: Path) -> Settings:
    """Writes and reads again."""
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.encode("settings", Settings(0.5))
    archiver.encode("noise", mps.MatrixRandomPhilox(graph.device, seed=3))
    archiver.write(path)
    opened = mps.KeyedUnarchiver(graph.device, [Settings]).open(str(path))
    assert_type(opened.decode_graph("net"), mps.Graph)
    settings = opened.decode_object("settings")
    assert isinstance(settings, Settings)
    return settings


def handle(graph: mps.Graph) -> str:
    """Errors are exceptions of their own classes and of Python's."""
    try:
        graph.encode(mps.CommandBuffer(graph.device.command_queue()), {})
    except mps.InvalidArgumentError as error:
        value: ValueError = error
        return str(value)
    return ""
