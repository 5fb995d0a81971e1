# SPDX-License-Identifier: MIT
"""A classifier with batch normalisation, dropout-free, here and in PyTorch, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from case_nets import Floats

import mpsnn as mps

torch = pytest.importorskip("torch")

CLASSES, SIZE, BATCH = 5, 8, 16
RATE, MOMENTUM, DECAY = 0.05, 0.9, 1e-3


def floats(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Floats:
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.standard_normal(shape, dtype=np.float32) * np.float32(scale)


class Net:
    """Two convolutions with normalisation, a skip between them, and a fully connected layer."""

    def __init__(self, device: mps.Device) -> None:
        descriptor = mps.OptimizerDescriptor(
            RATE,
            regularization_type=mps.RegularizationType.L2,
            regularization_scale=DECAY,
        )
        self.device = device
        self.optimizer = mps.OptimizerStochasticGradientDescent(descriptor, MOMENTUM)
        self.arrays = {
            "first": floats((6, 3, 3, 3), 1, 0.3),
            "second": floats((6, 3, 3, 6), 2, 0.2),
            "last": floats((CLASSES, SIZE, SIZE, 6), 3, 0.05),
        }
        self.convolutions = {
            name: mps.ConvolutionDataSource(
                mps.ConvolutionDescriptor(
                    array.shape[2], array.shape[1], array.shape[3], len(array)
                ),
                array,
                np.zeros(len(array), np.float32) if name == "last" else None,
                name,
                self.optimizer,
            )
            for name, array in self.arrays.items()
        }
        self.norms = {
            name: mps.BatchNormalizationDataSource(
                6, epsilon=1e-5, momentum=0.9, label=f"{name}.norm", optimizer=self.optimizer
            )
            for name in ("first", "second")
        }
        x, labels = mps.ImageNode("x"), mps.ImageNode("labels")
        first = self.layer(x, "first")
        second = mps.AdditionNode(first, self.layer(first, "second"))
        logits = mps.FullyConnectedNode(second, self.convolutions["last"])
        loss = mps.ForwardLossNode(
            logits,
            labels,
            mps.LossDescriptor(
                mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1 / BATCH
            ),
        )
        loss.result_image.handle, loss.result_image.export_from_graph = "loss", True
        ends = mps.InitialGradientNode(loss).training_graph()
        self.step = mps.Graph(device, [ends[0].result_image], [False])
        self.logits = mps.Graph(device, [logits.result_image])

    def layer(self, source: mps.ImageNode | mps.FilterNode, name: str) -> mps.FilterNode:
        """Convolution, normalisation, ReLU."""
        convolution = mps.ConvolutionNode(source, self.convolutions[name])
        return mps.NeuronReLUNode(mps.BatchNormalizationNode(convolution, self.norms[name]))

    def run(self, graph: mps.Graph, **arrays: Floats) -> mps.GraphOutputs:
        """One encode."""
        commands = mps.CommandBuffer(self.device.command_queue())
        outputs = graph.encode(commands, {name: arrays[name] for name in graph.source_handles})
        commands.commit()
        commands.wait_until_completed()
        return outputs


def torch_net(arrays: dict[str, Floats]) -> tuple[Any, Any]:
    """The same net: modules by name, and a function of a batch."""
    nn = torch.nn
    modules = nn.ModuleDict(
        {
            "first": nn.Conv2d(3, 6, 3, padding=1, bias=False),
            "second": nn.Conv2d(6, 6, 3, padding=1, bias=False),
            "first_norm": nn.BatchNorm2d(6, eps=1e-5, momentum=0.1),
            "second_norm": nn.BatchNorm2d(6, eps=1e-5, momentum=0.1),
            "last": nn.Conv2d(6, CLASSES, SIZE),
        }
    ).double()
    with torch.no_grad():
        for name, array in arrays.items():
            modules[name].weight.copy_(torch.tensor(array).permute(0, 3, 1, 2))
        modules["last"].bias.zero_()

    def forward(x: Floats) -> Any:  # noqa: ANN401
        image = torch.tensor(x, dtype=torch.float64).permute(0, 3, 1, 2)
        first = modules["first_norm"](modules["first"](image)).relu()
        second = modules["second_norm"](modules["second"](first)).relu()
        return modules["last"](first + second)[:, :, 0, 0]

    return modules, forward


def batch(index: int) -> tuple[Floats, Floats]:
    """Pictures, and one class for each."""
    classes = np.random.Generator(np.random.Philox(50 + index)).integers(0, CLASSES, BATCH)
    labels = np.eye(CLASSES, dtype=np.float32)[classes].reshape(BATCH, 1, 1, CLASSES)
    return floats((BATCH, SIZE, SIZE, 3), index + 10), labels


def test_a_classifier_is_trained_as_by_pytorch(device: mps.Device) -> None:
    net = Net(device)
    modules, forward = torch_net(net.arrays)
    # PyTorch's momentum leaves the rate outside: with one rate for all steps it is the same.
    descent = torch.optim.SGD(modules.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    for index in range(8):
        x, labels = batch(index % 4)
        got = np.array(net.run(net.step, x=x, labels=labels)["loss"]).sum()
        descent.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            forward(x), torch.tensor(labels.reshape(BATCH, CLASSES), dtype=torch.float64)
        )
        expected.backward()
        descent.step()
        np.testing.assert_allclose(got, expected.item(), rtol=1e-4, err_msg=f"step {index}")
    for name, norm in net.norms.items():
        other = modules[f"{name}_norm"]
        count = BATCH * SIZE * SIZE
        for parameter, wanted in {
            "gamma": other.weight,
            "beta": other.bias,
            "mean": other.running_mean,
        }.items():
            np.testing.assert_allclose(
                device.read_parameter(norm, parameter),
                wanted.detach().numpy(),
                rtol=1e-3,
                atol=1e-4,
                err_msg=f"{name} {parameter}",
            )
        # PyTorch keeps the variance of a sample: divided by the count less one.
        kept = 0.9**8
        wanted = kept + (other.running_var.numpy() - kept) * (count - 1) / count
        np.testing.assert_allclose(device.read_parameter(norm, "variance"), wanted, rtol=1e-3)


def test_a_classifier_learns_a_small_set_by_heart(device: mps.Device) -> None:
    net = Net(device)
    x, labels = batch(0)
    losses = [np.array(net.run(net.step, x=x, labels=labels)["loss"]).sum() for _ in range(60)]
    assert losses[-1] < 0.05 * losses[0]
    # Inference by the running statistics, which have followed those of the only batch.
    logits = np.array(net.run(net.logits, x=x)[0]).reshape(BATCH, CLASSES)
    np.testing.assert_array_equal(logits.argmax(axis=1), labels.reshape(BATCH, -1).argmax(axis=1))
