# SPDX-License-Identifier: MIT
"""Transfer learning: a trained net learns new classes, and only its last layers change.

A net of convolutions learns the digits 0 to 4. Then its body is kept, two fresh layers are put
behind it, and `stop_gradient` on the image between them lets these layers alone learn the digits 5
to 9: the training graph ends there, so that the body's gradients are not even computed. The program
compares the step with one that trains everything, in arithmetic and in time.

    pip install 'mpsnn[gan]'        # scikit-learn, for its digits
    python examples/python/transfer_learning.py --out digits.png
    python examples/python/transfer_learning.py --commit single --timeline steps.png
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.committing import BOTH, StepTimeline, Way, add_options, timeline_of, way_of
from mpsnn.files import DRAWINGS, atomic_path, optional_module, prepare_output
from mpsnn.initializers import RandomNumbers, he_normal
from mpsnn.training import Batch, StepSchedule, Trainer

EDGE, CLASSES, HIDDEN, BATCH = 8, 5, 32, 32
WIDTHS = (24, 48, 48)
ROWS, COLUMNS = 3, 10  # of the picture


def convolution(
    numbers: RandomNumbers, kernel: int, inputs: int, outputs: int, label: str
) -> mps.ConvolutionDataSource:
    """Fresh weights that Adam updates."""
    return mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(kernel, kernel, inputs, outputs),
        he_normal((outputs, kernel, kernel, inputs), numbers),
        np.zeros(outputs, np.float32),
        label,
        mps.OptimizerAdam(2e-3),
    )


@dataclass
class Net:
    """Weights of a net: a body that makes features, and last layers that make classes of them."""

    body: list[mps.ConvolutionDataSource]
    last: list[mps.ConvolutionDataSource]


def fresh_body(numbers: RandomNumbers) -> list[mps.ConvolutionDataSource]:
    """Convolutions of 3 x 3."""
    return [
        convolution(numbers, 3, inputs, outputs, f"body.{index}")
        for index, (inputs, outputs) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False))
    ]


def fresh_last(numbers: RandomNumbers, label: str) -> list[mps.ConvolutionDataSource]:
    """Two fully connected layers."""
    return [
        convolution(numbers, EDGE // 4, WIDTHS[-1], HIDDEN, f"{label}.hidden"),
        convolution(numbers, 1, HIDDEN, CLASSES, f"{label}.classes"),
    ]


def answer(net: Net, *, only_last: bool = False) -> mps.ImageNode:
    """The nodes of the net, from "pictures" (N, 8, 8, 1) to logits (N, 1, 1, 5).

    Args:
        net: Its weights.
        only_last: Let no gradient into the body.
    """
    image = mps.ImageNode("pictures")
    for index, weights in enumerate(net.body):
        image = mps.NeuronReLUNode(mps.ConvolutionNode(image, weights)).result_image
        if index > 0:
            image = mps.PoolingMaxNode(image, 2, 2, 2, 2).result_image
    image.stop_gradient = only_last
    hidden, classes = net.last
    neuron = mps.NeuronReLUNode(mps.FullyConnectedNode(image, hidden))
    return mps.FullyConnectedNode(neuron, classes).result_image


def training(device: mps.Device, net: Net, *, only_last: bool = False) -> mps.Graph:
    """The training graph; exports "loss"."""
    descriptor = mps.LossDescriptor(
        mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / BATCH
    )
    logits = answer(net, only_last=only_last)
    loss = mps.ForwardLossNode(logits, mps.ImageNode("labels"), descriptor).result_image
    loss.handle, loss.export_from_graph = "loss", True
    (end,) = mps.InitialGradientNode(loss).training_graph()
    return mps.Graph(device, [end.result_image], [False])


@dataclass(frozen=True)
class Digits:
    """Pictures (N, 8, 8, 1) from 0 to 1, and classes from 0 to 4."""

    pictures: NDArray[np.float32]
    classes: NDArray[np.int64]

    def batches(self, _epoch: int, generator: np.random.Generator) -> Iterator[Batch]:
        """Whole batches in random order."""
        order = generator.permutation(len(self.classes))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            yield self.sources(order[start : start + BATCH])

    def sources(self, chosen: NDArray[np.int64]) -> Batch:
        """The training graph's sources."""
        labels = np.eye(CLASSES, dtype=np.float32)[self.classes[chosen]]
        return {
            "pictures": self.pictures[chosen],
            "labels": labels.reshape(len(chosen), 1, 1, CLASSES),
        }


def digits(first: int) -> tuple[Digits, Digits]:
    """Five digits of scikit-learn's: three quarters to learn, a quarter to test.

    Args:
        first: The first of them, which is class 0.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    data = optional_module("sklearn.datasets", "gan", "the digits' data set").load_digits()
    wanted = (data.target >= first) & (data.target < first + CLASSES)
    pictures = np.asarray(data.images[wanted], np.float32)[..., None] / 16.0
    classes = np.asarray(data.target[wanted], np.int64) - first
    order = np.random.Generator(np.random.Philox(first)).permutation(len(classes))
    seen, unseen = np.split(order, [3 * len(order) // 4])
    return Digits(pictures[seen], classes[seen]), Digits(pictures[unseen], classes[unseen])


def learn(
    graph: mps.Graph,
    seen: Digits,
    epochs: int,
    way: Way = BOTH,
    timeline: StepTimeline | None = None,
    *,
    title: str = "",
) -> None:
    """Trains a graph.

    Args:
        graph: A graph of `training`.
        seen: The digits to learn.
        epochs: Passes over them.
        way: How the steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: nothing does.
        title: Of a progress bar; "": none is drawn.
    """
    trainer = Trainer(
        graph,
        seen.batches,
        schedule=StepSchedule(2e-3),
        way=way,
        timeline=timeline,
        progress=bool(title),
        title=title,
        steps=len(seen.classes) // BATCH,
    )
    trainer.run(epochs)
    if trainer.interrupted:
        raise KeyboardInterrupt


def guesses(device: mps.Device, net: Net, unseen: Digits) -> NDArray[np.int64]:
    """The class of the highest score for each picture."""
    commands = mps.CommandBuffer(device.command_queue())
    logits = mps.Graph(device, [answer(net)]).encode(commands, {"pictures": unseen.pictures})[0]
    commands.commit()
    return np.asarray(logits).reshape(-1, CLASSES).argmax(axis=1)


def accuracy(device: mps.Device, net: Net, unseen: Digits) -> float:
    """Share of right answers."""
    return float(np.mean(guesses(device, net, unseen) == unseen.classes))


def parameters(
    device: mps.Device, sources: list[mps.ConvolutionDataSource]
) -> list[NDArray[np.float32]]:
    """Weights and biases as they are now."""
    return [device.read_parameter(s, name) for s in sources for name in ("weights", "bias")]


def flops(graph: mps.Graph) -> int:
    """Arithmetic of a step."""
    sizes = {"pictures": (BATCH, EDGE, EDGE, 1), "labels": (BATCH, 1, 1, CLASSES)}
    return graph.cost(sizes).flops


def seconds(graphs: list[mps.Graph], batch: Batch, rounds: int = 200) -> list[float]:
    """Time of a step of each graph, taken in turns; the fastest counts: other work only adds."""
    queue = graphs[0].device.command_queue()
    times: list[list[float]] = [[] for _ in graphs]
    for _ in range(rounds):
        for graph, taken in zip(graphs, times, strict=True):
            started = time.perf_counter()
            commands = mps.CommandBuffer(queue)
            graph.encode(commands, dict(batch))
            commands.commit()
            commands.wait_until_completed()
            taken.append(time.perf_counter() - started)
    return [min(taken) for taken in times]


def draw(path: Path, unseen: Digits, found: NDArray[np.int64]) -> None:
    """Draws unseen digits from 5 to 9 under what they were taken for, wrong ones in red.

    Args:
        path: Where to write; the suffix says the format.
        unseen: The digits; the first of them are drawn.
        found: The class that was found for each.
    """
    figures = optional_module("matplotlib.figure", "gan", "the digits' picture")
    agg = optional_module("matplotlib.backends.backend_agg", "gan", "the digits' picture")
    figure = figures.Figure(figsize=(0.8 * COLUMNS, 1.05 * ROWS), layout="constrained")
    agg.FigureCanvasAgg(figure)
    for index, axes in enumerate(figure.subplots(ROWS, COLUMNS).reshape(-1)):
        guess, expected = found[index], unseen.classes[index]
        right = guess == expected
        text = f"{CLASSES + guess}" if right else f"{CLASSES + guess}, is {CLASSES + expected}"
        axes.set_axis_off()
        axes.imshow(unseen.pictures[index, ..., 0], cmap="gray_r")
        axes.set_title(text, color="black" if right else "#CC0000")
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=100)


def transfer_and_compare(way: Way, timeline: StepTimeline, out: Path | None = None) -> None:
    """Trains on the first five digits, transfers to the others, and compares the steps.

    Args:
        way: How the steps are handed to the device.
        timeline: Captures a few steps of the last layers.
        out: Where to draw some of the new digits; None: nowhere.

    Raises:
        FileError: The picture cannot be written there; told before the first step.
    """
    if out is not None:
        optional_module("matplotlib", "gan", "the digits' picture")
        prepare_output(out, DRAWINGS)
    device = mps.Device()
    numbers = RandomNumbers(seed=1)
    first = Net(fresh_body(numbers), fresh_last(numbers, "first"))
    seen, unseen = digits(0)
    learn(training(device, first), seen, 8, way, title="digits 0 to 4")
    print(f"digits 0 to 4: {100 * accuracy(device, first, unseen):.1f} % right")

    second = Net(first.body, fresh_last(numbers, "second"))
    seen, unseen = digits(CLASSES)
    print(f"digits 5 to 9 before: {100 * accuracy(device, second, unseen):.1f} % right")
    before = parameters(device, first.body)
    transfer = training(device, second, only_last=True)
    learn(transfer, seen, 15, way, timeline, title="digits 5 to 9")
    after = parameters(device, first.body)
    print(f"digits 5 to 9 after: {100 * accuracy(device, second, unseen):.1f} % right")
    same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    print(f"the body's weights are the same, bit for bit: {same}")
    timeline.tell()
    if out is not None:
        draw(out, unseen, guesses(device, second, unseen))
        print(f"some of them, and what they were taken for: {out}")

    apart = Net(fresh_body(numbers), fresh_last(numbers, "whole"))
    whole = training(device, apart)
    all_work, rest = flops(whole), flops(transfer)
    slow, fast = seconds([whole, transfer], seen.sources(np.arange(BATCH)))
    print(f"a step that trains all: {all_work / 1e6:.1f} MFLOP, {1e3 * slow:.2f} ms")
    print(f"one of the last layers: {rest / 1e6:.1f} MFLOP, {1e3 * fast:.2f} ms")
    print(f"{all_work / rest:.1f} times less arithmetic, {slow / fast:.1f} times faster")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example.

    Args:
        arguments: `--out`, `--commit` and `--timeline`; None: those of the process.

    Returns:
        The exit status: 0, 2 where an argument is not what was expected, or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="draw some of the new digits (.png, .svg, .pdf)"
    )
    add_options(parser)
    parsed = parser.parse_args(arguments)
    try:
        transfer_and_compare(way_of(parsed), timeline_of(parsed), parsed.out)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (mps.Error, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
