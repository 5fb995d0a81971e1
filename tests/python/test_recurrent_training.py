# SPDX-License-Identifier: MIT
"""Training of recurrent layers by optimizers on the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases.recurrent import Cell
from recurrent_nets import (
    data_sources,
    descriptor_of,
    empty_matrices,
    make_weights,
    matrices,
    weight_names,
)

import mpsnn as mps

LSTM = Cell("lstm", 3, 4)


def values(*shape: int) -> np.ndarray:
    """Random float32."""
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


class Descent:
    """An optimizer for each weight: kernels, with their moments."""

    def __init__(
        self, device: mps.Device, make: Callable[[], mps.DeviceKernel], moments: int
    ) -> None:
        self.device, self.make, self.count = device, make, moments
        self.updates: list[tuple[mps.DeviceKernel, list[mps.Matrix]]] = []

    def encode(
        self,
        commands: mps.CommandBuffer,
        gradients: list[mps.Matrix],
        weights: list[mps.Matrix],
    ) -> None:
        """Records a step of all weights, in place."""
        if not self.updates:
            for matrix in weights:
                zeros = [np.zeros(matrix.shape, np.float32)] * self.count
                self.updates.append((self.make(), matrices(self.device, zeros)))
        for (kernel, moments), gradient, weight in zip(
            self.updates, gradients, weights, strict=True
        ):
            kernel.encode(commands, gradient, weight, weight, *moments)


def optimizers(
    device: mps.Device,
) -> dict[str, tuple[Descent, Callable[..., torch.optim.Optimizer]]]:
    """Ours and PyTorch's of the same formula."""
    sgd, adam = mps.OptimizerStochasticGradientDescentUpdate, mps.OptimizerAdamUpdate
    return {
        "descent": (
            Descent(device, lambda: sgd(device, learning_rate=0.1), 0),
            lambda weights: torch.optim.SGD(weights, 0.1),
        ),
        "momentum": (
            Descent(device, lambda: sgd(device, learning_rate=0.1, momentum_scale=0.5), 1),
            lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.5),
        ),
        "adam": (
            Descent(device, lambda: adam(device, learning_rate=0.1, epsilon=1e-12), 2),
            lambda weights: torch.optim.Adam(weights, 0.1, eps=1e-12),
        ),
        "rms_prop": (
            Descent(
                device, lambda: mps.OptimizerRMSPropUpdate(device, learning_rate=0.01, decay=0.9), 1
            ),
            lambda weights: torch.optim.RMSprop(weights, 0.01, 0.9),
        ),
    }


@pytest.mark.parametrize("name", ["descent", "momentum", "adam", "rms_prop"])
def test_optimizers_step_the_weights_of_a_layer(device: mps.Device, name: str) -> None:
    cell = LSTM
    weights = make_weights(cell, np.random.default_rng(3))
    layer = mps.RNNMatrixTrainingLayer(device, descriptor_of(cell, data_sources(cell, weights)))
    matrices_of_weights = layer.create_weight_matrices()
    gradients = layer.create_weight_gradient_matrices()
    x, upstream = values(3, 2, 3), values(3, 2, 4)
    update, make_peer = optimizers(device)[name]
    names = list(weight_names(cell, weights).values())
    peers = {key: torch.tensor(array, dtype=torch.float64) for key, array in weights.items()}
    for tensor in peers.values():
        tensor.requires_grad_()
    peer = make_peer(list(peers.values()))
    for _ in range(3):
        commands = mps.CommandBuffer(device.command_queue())
        sources = matrices(device, list(x))
        kept, _ = layer.encode_forward_sequence(
            commands, sources, empty_matrices(device, [2] * 3, 4), matrices_of_weights
        )
        layer.encode_gradient_sequence(
            commands,
            sources,
            matrices(device, list(upstream)),
            [],
            gradients,
            kept,
            matrices_of_weights,
        )
        update.encode(commands, gradients, matrices_of_weights)
        commands.commit()
        peer.zero_grad()
        h = c = torch.zeros(2, 4, dtype=torch.float64)
        total = torch.zeros((), dtype=torch.float64)
        for step, gradient in zip(x, upstream, strict=True):
            sums = [
                torch.tensor(step).double() @ peers[f"w{g}"].T
                + h @ peers[f"u{g}"].T
                + peers[f"b{g}"]
                for g in range(4)
            ]
            c = torch.sigmoid(sums[1]) * c + torch.sigmoid(sums[0]) * torch.tanh(sums[2])
            h = torch.sigmoid(sums[3]) * torch.tanh(c)
            total = total + (h * torch.tensor(gradient)).sum()
        total.backward()
        peer.step()
    for key, matrix in zip(names, matrices_of_weights, strict=True):
        wanted = peers[key].detach().numpy().reshape(matrix.shape)
        np.testing.assert_allclose(matrix.read(), wanted, rtol=0, atol=1e-5)


def test_a_layer_learns_to_remember_the_first_of_its_inputs(device: mps.Device) -> None:
    cell = Cell("lstm", 1, 8)
    rng = np.random.default_rng(0)
    layer = mps.RNNMatrixTrainingLayer(
        device, descriptor_of(cell, data_sources(cell, make_weights(cell, rng)))
    )
    weights = layer.create_weight_matrices()
    gradients = layer.create_weight_gradient_matrices()
    update = Descent(device, lambda: mps.OptimizerAdamUpdate(device, learning_rate=0.02), 2)
    steps, rows = 6, 16
    sources = [mps.Matrix(device, rows=rows, columns=1) for _ in range(steps)]
    made = [mps.Matrix(device, rows=rows, columns=8) for _ in range(steps)]
    upstream = [mps.Matrix(device, rows=rows, columns=8) for _ in range(steps)]
    queue = device.command_queue()
    losses = []
    for _ in range(150):
        x = rng.choice([-0.5, 0.5], (steps, rows, 1)).astype(np.float32)
        for matrix, array in zip(sources, x, strict=True):
            matrix.write(array)
        commands = mps.CommandBuffer(queue)
        kept, _ = layer.encode_forward_sequence(commands, sources, made, weights)
        commands.commit()
        error = np.zeros((rows, 8), np.float32)
        error[:, 0] = made[-1].read()[:, 0] - x[0, :, 0]
        losses.append(float(np.mean(error**2) * 8))
        upstream[-1].write(error / np.float32(rows) * 4)
        commands = mps.CommandBuffer(queue)
        layer.encode_gradient_sequence(commands, sources, upstream, [], gradients, kept, weights)
        update.encode(commands, gradients, weights)
        commands.commit()
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:10])


def halves(array: np.ndarray) -> np.ndarray:
    """The same in float16."""
    return array.astype(np.float16)


def sequence(
    device: mps.Device, rows: list[int], columns: int, kind: mps.DataType
) -> list[mps.Matrix]:
    """Matrices of zeros."""
    return [mps.Matrix(device, rows=n, columns=columns, data_type=kind) for n in rows]


def test_gradients_of_float16_matrices(device: mps.Device) -> None:
    rng = np.random.default_rng(3)
    layer = mps.RNNMatrixTrainingLayer(
        device, descriptor_of(LSTM, data_sources(LSTM, make_weights(LSTM, rng)))
    )
    layer.accumulate_weight_gradients = True
    weights = layer.create_weight_matrices()
    rounded = [halves(matrix.read()) for matrix in weights]
    x, upstream = halves(values(2, 3)), halves(values(2, 4))

    def gradients(kind: type, data_type: mps.DataType) -> list[np.ndarray]:
        made = layer.create_weight_gradient_matrices(data_type)
        for matrix in made:
            matrix.write(np.ones(matrix.shape, kind))
        given = matrices(device, [array.astype(kind) for array in rounded])
        sources = matrices(device, [x.astype(kind)])
        commands = mps.CommandBuffer(device.command_queue())
        kept, _ = layer.encode_forward_sequence(
            commands, sources, sequence(device, [2], 4, data_type), given
        )
        layer.encode_gradient_sequence(
            commands,
            sources,
            matrices(device, [upstream.astype(kind)]),
            sequence(device, [2], 3, data_type),
            made,
            kept,
            given,
        )
        commands.commit()
        return [matrix.read() for matrix in made]

    wanted = gradients(np.float32, mps.DataType.FLOAT32)
    got = gradients(np.float16, mps.DataType.FLOAT16)
    for half, reference in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(half, halves(reference))
