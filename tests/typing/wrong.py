# SPDX-License-Identifier: MIT
"""Mistakes that the types must find.

Each line says which error mypy reports there; one that mypy does not find makes the comment unused,
which is an error itself.
"""

from __future__ import annotations

import numpy as np

import mpsnn as mps

device: mps.Device = mps.Device(3)  # type: ignore[arg-type]
queue: str = device.command_queue()  # type: ignore[assignment]
node = mps.NeuronReLUNode("noisy")  # type: ignore[arg-type]
mps.NeuronReLUNode(mps.ImageNode("noisy"), slope=0.1)  # type: ignore[call-arg]
mps.NeuronReLUNod(mps.ImageNode("noisy"))  # type: ignore[attr-defined]
node.result_image.handle = 7  # type: ignore[assignment]
node.label.missing()  # type: ignore[attr-defined]
graph = mps.Graph(device, node)  # type: ignore[arg-type]
graph.encode(queue, {})  # type: ignore[arg-type]
graph.source_handles = ["x"]  # type: ignore[misc]
mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 1), np.zeros(3))  # type: ignore[call-arg]
mps.OptimizerAdam("fast")  # type: ignore[call-overload]
mps.LossDescriptor(mps.NeuronType.RELU)  # type: ignore[arg-type]
mps.KeyedUnarchiver(device, [dict])  # type: ignore[list-item]
mps.KeyedArchiver().encode("x", 3)  # type: ignore[call-overload]
mps.KeyedArchiver().write()  # type: ignore[call-arg]
mps.Coder().encode("x", object())  # type: ignore[arg-type]
