# SPDX-License-Identifier: MIT
"""Transfer learning: a net that knows five digits learns the five others with its last layer.

    python examples/python/transfer_learning.py

A small net is trained on scikit-learn's digits 0 to 4. Its convolutions then stay: `stop_gradient`
before a new last layer ends the training graph there, so that nothing before it is differentiated
or updated, and the layer learns 5 to 9. The convolutions' weights are the same bits afterwards, and
a step is shorter by the work that is left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan.digits import Digits, bundled
from mpsnn.initializers import RandomNumbers, he_normal
from mpsnn.training import StepSchedule, Trainer

CLASSES = 5
WIDTHS = (16, 32, 32)
BATCH = 32
LEARNING_RATE = 2e-3


class Net:
    """Three convolutions, of which the features come, and a last layer that can be replaced.

    Args:
        edge: Height and width of the pictures, a multiple of 4.
        seed: Fixes the first weights.
    """

    def __init__(self, edge: int, seed: int = 0) -> None:
        self._numbers = RandomNumbers(seed)
        self._optimizer = mps.OptimizerAdam(LEARNING_RATE)
        self._cells = edge // 4
        channels = (1, *WIDTHS)
        self.convolutions = [
            self._source(f"convolution{index}", 3, inputs, outputs)
            for index, (inputs, outputs) in enumerate(zip(channels, WIDTHS, strict=False))
        ]
        self.renew_last_layer()

    def renew_last_layer(self) -> None:
        """Gives the net a fresh last layer."""
        self.last = self._source("last", self._cells, WIDTHS[-1], CLASSES)

    def _source(
        self, label: str, kernel: int, inputs: int, outputs: int
    ) -> mps.ConvolutionDataSource:
        return mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(kernel, kernel, inputs, outputs),
            he_normal((outputs, kernel, kernel, inputs), self._numbers),
            np.zeros(outputs, np.float32),
            label,
            self._optimizer,
        )

    def __call__(self, pictures: mps.ImageNode, *, stop_gradient: bool = False) -> mps.ImageNode:
        """Pictures (N, H, W, 1) to logits (N, 1, 1, 5); the gradient ends before the last layer."""
        x: mps.ImageNode | mps.FilterNode = pictures
        for index, source in enumerate(self.convolutions):
            x = mps.NeuronReLUNode(mps.ConvolutionNode(x, source))
            if index > 0:
                x = mps.PoolingMaxNode(x, 2, 2, 2, 2)
        assert isinstance(x, mps.FilterNode)
        features = x.result_image
        features.stop_gradient = stop_gradient
        return mps.FullyConnectedNode(features, self.last).result_image


def build_training(device: mps.Device, net: Net, *, stop_gradient: bool) -> mps.Graph:
    """Compiles a training step of "pictures" and "labels" that exports "loss".

    Args:
        device: Where it shall run.
        net: The net.
        stop_gradient: Train the last layer only.
    """
    logits = net(mps.ImageNode("pictures"), stop_gradient=stop_gradient)
    descriptor = mps.LossDescriptor(
        mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / BATCH
    )
    loss = mps.ForwardLossNode(logits, mps.ImageNode("labels"), descriptor)
    loss.result_image.handle, loss.result_image.export_from_graph = "loss", True
    last = mps.InitialGradientNode(loss).training_graph()
    return mps.Graph(
        device, [node.result_image for node in last], results_are_needed=[False] * len(last)
    )


def batches(digits: Digits, generator: np.random.Generator) -> list[dict[str, NDArray[np.float32]]]:
    """An epoch's batches; the classes count from the smallest label on."""
    order = generator.permutation(len(digits))
    one_hot = np.eye(CLASSES, dtype=np.float32)[digits.labels % CLASSES][:, None, None, :]
    chosen = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
    return [{"pictures": digits.images[rows], "labels": one_hot[rows]} for rows in chosen]


def train(graph: mps.Graph, digits: Digits, epochs: int) -> None:
    """Trains a graph of `build_training`."""
    trainer = Trainer(
        graph,
        lambda _epoch, generator: batches(digits, generator),
        schedule=StepSchedule(LEARNING_RATE),
        progress=False,
    )
    trainer.run(epochs)


def accuracy(device: mps.Device, net: Net, digits: Digits) -> float:
    """Share of digits that are told right."""
    logits = net(mps.ImageNode("pictures"))
    logits.handle = "logits"
    commands = mps.CommandBuffer(device.command_queue())
    outputs = mps.Graph(device, [logits]).encode(commands, {"pictures": digits.images})
    commands.commit()
    commands.wait_until_completed()
    found = np.array(outputs["logits"]).reshape(len(digits), CLASSES).argmax(1)
    return float((found == digits.labels % CLASSES).mean())


def weights(device: mps.Device, net: Net) -> list[NDArray[np.float32]]:
    """The convolutions' weights and biases on a device."""
    return [
        device.read_parameter(source, name)
        for source in net.convolutions
        for name in ("weights", "bias")
    ]


def step_seconds(graphs: tuple[mps.Graph, mps.Graph], digits: Digits) -> tuple[float, float]:
    """The shortest of 50 steps of each graph, in seconds; they take turns."""
    batch = batches(digits, np.random.default_rng(0))[0]
    queue, shortest = graphs[0].device.command_queue(), [float("inf")] * 2
    for _ in range(50):
        for index, graph in enumerate(graphs):
            started = time.perf_counter()
            commands = mps.CommandBuffer(queue)
            graph.encode(commands, batch)
            commands.commit()
            commands.wait_until_completed()
            shortest[index] = min(shortest[index], time.perf_counter() - started)
    return shortest[0], shortest[1]


def step_operations(graph: mps.Graph, digits: Digits) -> int:
    """Floating-point operations of a training step."""
    batch = batches(digits, np.random.default_rng(0))[0]
    return graph.cost({name: array.shape for name, array in batch.items()}).flops


@dataclass(frozen=True)
class Outcome:
    """What transfer learning gave.

    Attributes:
        before: Accuracy on unseen digits 0 to 4 after the first training.
        after: Accuracy on unseen digits 5 to 9 after the second one.
        unchanged: Whether the convolutions are the same bits as before the second one.
        operations: Of a step that trains all layers, and of one that trains the last.
        seconds: Of the same two steps.
    """

    before: float
    after: float
    unchanged: bool
    operations: tuple[int, int]
    seconds: tuple[float, float]


def run(device: mps.Device, epochs: int = 15) -> Outcome:
    """Trains on 0 to 4, then the last layer on 5 to 9.

    Args:
        device: Where.
        epochs: Of each training.
    """
    digits = bundled()
    low, high = (
        Digits(digits.images[chosen], digits.labels[chosen]).parted()
        for chosen in (digits.labels < CLASSES, digits.labels >= CLASSES)
    )
    net = Net(digits.edge)
    whole = build_training(device, net, stop_gradient=False)
    train(whole, low[0], epochs)
    before, kept = accuracy(device, net, low[1]), weights(device, net)
    net.renew_last_layer()
    last = build_training(device, net, stop_gradient=True)
    train(last, high[0], epochs)
    after, now = accuracy(device, net, high[1]), weights(device, net)
    return Outcome(
        before,
        after,
        all(np.array_equal(a, b) for a, b in zip(kept, now, strict=True)),
        (step_operations(whole, low[0]), step_operations(last, high[0])),
        step_seconds((whole, last), high[0]),
    )


def main() -> None:
    """Runs the example and tells what came of it."""
    outcome = run(mps.Device())
    print(f"digits 0 to 4, all layers trained: {100 * outcome.before:.1f} % of unseen ones right")
    print(f"digits 5 to 9, last layer trained: {100 * outcome.after:.1f} % of unseen ones right")
    print(f"the convolutions' weights are the same bits: {outcome.unchanged}")
    for title, values, unit in (
        ("operations of a step", [count / 1e6 for count in outcome.operations], "MFLOP"),
        ("time of a step", [1e3 * seconds for seconds in outcome.seconds], "ms"),
    ):
        print(f"{title}: {values[0]:.2f} {unit} -> {values[1]:.2f} {unit}")


if __name__ == "__main__":
    main()
