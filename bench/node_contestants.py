# SPDX-License-Identifier: MIT
"""A contestant of bench/nodes.py: a process that measures one node at a time, as it is asked to.

Requests and answers are lines of JSON. `prepare` builds a node and answers what it holds; `sample`
answers the seconds of one run of it, over about the time asked for. Only one contestant works at a
time: the other one waits for its next line, and its threads sleep.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from node_cases import CASES, Floats, NodeCase

BY_ID = {case.id: case for case in CASES}
# Nodes on one command buffer for small images: what a net does, too.
SMALL_ENCODES = 8
BATCH_SECONDS = 5e-4


class Step(ABC):
    """One node, ready to run."""

    runs = 1  # of the node in a call

    @abstractmethod
    def __call__(self) -> None:
        """Runs to the end."""

    def results(self) -> list[Floats]:
        """The result, or result and gradients, or gradients."""
        return []

    def facts(self) -> dict[str, Any]:
        """What `prepare` answers."""
        return {}


def seconds_of(thread: Path) -> float:
    """Processor time of a thread; 0 where it has ended meanwhile."""
    try:
        return int((thread / "schedstat").read_text(encoding="ascii").split()[0]) * 1e-9
    except OSError:
        return 0.0


def foreign_seconds() -> float:
    """Processor time of the threads of all other processes that live; 0 where nobody tells."""
    others = (p for p in Path("/proc").glob("[0-9]*") if p.name != str(os.getpid()))
    return sum(seconds_of(thread) for process in others for thread in process.glob("task/*"))


def timed(step: Callable[[], None], count: int) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - started) / count


def sample(step: Step, seconds: float) -> dict[str, float]:
    """Median seconds of a run, and the processors that other processes took meanwhile."""
    step()
    count = max(1, round(BATCH_SECONDS / max(timed(step, 1), 1e-7)))
    foreign, started = foreign_seconds(), time.perf_counter()
    times = [timed(step, count)]
    while time.perf_counter() - started < seconds:
        times.append(timed(step, count))
    passed = time.perf_counter() - started
    lost = max(0.0, foreign_seconds() - foreign) / passed
    return {"seconds": statistics.median(times) / step.runs, "lost": lost}


class OurStep(Step):
    """A graph of just the node: one command buffer from making it to the end of the wait."""

    def __init__(self, case: NodeCase, size: str, *, gradient: bool) -> None:
        import mpsnn as mps

        self.mps = mps
        device = mps.Device("cpu")
        self.queue = device.command_queue()
        self.runs = SMALL_ENCODES if size == "small" else 1
        arrays = case.arrays(size)
        sources = [mps.ImageNode(handle) for handle in arrays]
        weights = self._weights(case, size)
        node = mps.FilterNode(case.node, sources, case.arguments(size), weights)
        if case.node == "ConvolutionTransposeNode":
            node.padding_policy = mps.PaddingPolicy(mps.PaddingMethod.SIZE_FULL)
        if case.node.startswith("Pooling") and case.attributes["kernel_width"] == 2:
            node.padding_policy = mps.PaddingPolicy(mps.PaddingMethod.SIZE_VALID_ONLY)
        results = [node.result_image]
        self.with_forward, self.result = False, 0
        if gradient:
            found = self._gradients(node, sources)
            graph = mps.Graph(device, found)
            forward = mps.Graph(device, results)
            arrays["gradient"] = self._start(case, forward, device, arrays)
            self.result = arrays["gradient"].size
            names = {type(each).__name__ for each in graph.nodes}
            statistics_again = "normalization_statistics" in graph.plan_text(
                {handle: arrays[handle].shape for handle in graph.source_handles}
            )
            self.with_forward = statistics_again or case.node in names
            results = [*results, *found] if self.with_forward else found
        self.graph = mps.Graph(device, results)
        self.sources = {
            handle: mps.Image(device, arrays[handle]) for handle in self.graph.source_handles
        }

    def _weights(self, case: NodeCase, size: str) -> Any:
        mps, channels = self.mps, case.sources[size][0][3]
        step = mps.OptimizerStochasticGradientDescent(1e-6)
        kind = case.node.removesuffix("Node")
        if case.weights is not None:
            kernel, stride = case.weights.kernel, case.weights.stride
            groups = channels if case.weights.is_depthwise else 1
            descriptor = mps.ConvolutionDescriptor(
                kernel,
                kernel,
                channels,
                channels,
                stride_in_pixels_x=stride,
                stride_in_pixels_y=stride,
                groups=groups,
            )
            values = case.parameters(size)
            return mps.ConvolutionDataSource(
                descriptor, values["weights"], values["bias"], "weights", step
            )
        if kind == "GroupNormalization":
            return mps.GroupNormalizationDataSource(
                channels, 8, optimizer=step, epsilon=1e-5, label="weights"
            )
        if kind in ("BatchNormalization", "InstanceNormalization"):
            source = getattr(mps, f"{kind}DataSource")
            return source(channels, optimizer=step, epsilon=1e-5, label="weights")
        return None

    def _gradients(self, node: Any, sources: list[Any]) -> list[Any]:
        found: dict[int, Any] = {}

        def note(gradient_node: Any, _node: Any, source: Any, _gradient: Any) -> None:
            found[sources.index(source)] = gradient_node.result_image

        node.training_graph(self.mps.ImageNode("gradient"), note)
        return [found[index] for index in sorted(found)]

    def _start(self, case: NodeCase, graph: Any, device: Any, arrays: dict[str, Any]) -> Floats:
        commands = self.mps.CommandBuffer(device.command_queue())
        outputs = graph.encode(commands, {h: arrays[h] for h in graph.source_handles})
        commands.commit()
        commands.wait_until_completed()
        return case.start(np.asarray(outputs[0]).shape)

    def __call__(self) -> None:
        """Encodes, commits and waits."""
        commands = self.mps.CommandBuffer(self.queue)
        for _ in range(self.runs):
            self.graph.encode(commands, self.sources)
        commands.commit()
        commands.wait_until_completed()

    def results(self) -> list[Floats]:
        """Of one encode."""
        commands = self.mps.CommandBuffer(self.queue)
        outputs = self.graph.encode(commands, self.sources)
        commands.commit()
        commands.wait_until_completed()
        return [np.asarray(image) for image in outputs]

    def facts(self) -> dict[str, Any]:
        """The kernels that run, and sizes."""
        shapes = {handle: image.size for handle, image in self.sources.items()}
        lines = self.graph.plan_text(shapes).splitlines()
        kernels = [line.rsplit("[", 1)[1].rstrip("]") for line in lines if line.endswith("]")]
        return {
            "kernels": [kernel for kernel in kernels if "/" in kernel],
            "with_forward": self.with_forward,
            "result": self.result or self.results()[0].size,
        }


class PeerStep(Step):
    """PyTorch's counterpart, eager; weights take a step of gradient descent, as ours do."""

    def __init__(self, case: NodeCase, size: str, *, gradient: bool, with_forward: bool) -> None:
        import torch

        from node_peers import PEERS

        torch.set_num_threads(2)
        self.torch = torch
        self.peer = PEERS[case.id]
        self.arguments = case.arguments(size)
        self.sources = [self._image(array) for array in case.arrays(size).values()]
        self.weights = self._parameters(case, size)
        self.gradient, self.with_forward = gradient, with_forward
        if not gradient:
            return
        trained = 1 if case.node == "ForwardLossNode" else len(self.sources)
        self.leaves = [each.requires_grad_() for each in self.sources[:trained]]
        names = [name for name in self.weights if name not in ("signs", "channels")]
        self.trained = [self.weights[name].requires_grad_() for name in names]
        result = self._forward()
        if result.dim() == 4:
            self.start = self._image(case.start(tuple(result.permute(0, 2, 3, 1).shape)))
        else:  # a loss
            self.start = torch.tensor(case.start(())).reshape(result.shape)
        self.kept = None if with_forward else result

    def _image(self, array: Floats) -> Any:
        return self.torch.from_numpy(array).permute(0, 3, 1, 2)

    def _parameters(self, case: NodeCase, size: str) -> dict[str, Any]:
        torch, found = self.torch, {}
        for name, array in case.parameters(size).items():
            tensor = torch.from_numpy(array)
            if name == "weights":
                tensor = tensor.permute(0, 3, 1, 2)  # OHWI is channels-last
            found[name] = tensor
        channels = case.sources[size][0][3]
        if case.node in (
            "BatchNormalizationNode",
            "InstanceNormalizationNode",
            "GroupNormalizationNode",
        ):
            found = {"gamma": torch.ones(channels), "beta": torch.zeros(channels)}
        if case.node == "NeuronPReLUNode":
            found["channels"] = torch.tensor(self.arguments["a"])
        if case.node.startswith("Binary"):
            found["signs"] = torch.where(found.pop("weights") > 0, 1.0, -1.0)
        if case.node == "ConvolutionTransposeNode":
            # Ours are read in the result's order: the other way round.
            weights = found.pop("weights").flip(2, 3).transpose(0, 1)
            found["transposed"] = weights.contiguous(memory_format=torch.channels_last)
        return found

    def _forward(self) -> Any:
        return self.peer(self.sources, self.weights, self.arguments)

    def _backward(self, result: Any) -> list[Any]:
        torch = self.torch
        found = torch.autograd.grad(
            result, [*self.leaves, *self.trained], self.start, retain_graph=not self.with_forward
        )
        images, steps = found[: len(self.leaves)], found[len(self.leaves) :]
        # Ours are images of their own: a view is copied.
        images = [self._owned(image) for image in images]
        with torch.no_grad():
            for parameter, step in zip(self.trained, steps, strict=True):
                # The version counter would refuse the next backward pass of a result that is kept.
                parameter.data.add_(step, alpha=-1e-6)
        return images

    def _owned(self, image: Any) -> Any:
        if image.untyped_storage().data_ptr() != self.start.untyped_storage().data_ptr():
            return image
        return image.clone(memory_format=self.torch.channels_last)

    def _all(self) -> list[Any]:
        if not self.gradient:
            with self.torch.no_grad():
                return [self._forward()]
        if self.with_forward:
            result = self._forward()
            return [result, *self._backward(result)]
        return self._backward(self.kept)

    def __call__(self) -> None:
        """The call."""
        self._all()

    def results(self) -> list[Floats]:
        """In our order, NHWC."""
        found = []
        for tensor in self._all():
            image = tensor.detach()
            found.append(
                image.permute(0, 2, 3, 1).float().numpy()
                if image.dim() == 4
                else image.reshape(1, 1, 1, 1).numpy()
            )
        return found


class CopyStep(Step):
    """PyTorch's copy between two tensors: the machine's bandwidth for so many bytes."""

    def __init__(self, moved: int) -> None:
        import torch

        torch.set_num_threads(2)
        self.source = torch.ones(max(1, moved // 8))
        self.target = torch.zeros(max(1, moved // 8))

    def __call__(self) -> None:
        """The copy."""
        self.target.copy_(self.source)


def prepared(who: str, request: dict[str, Any]) -> Step:
    """The step of a request."""
    if "moved" in request:
        return CopyStep(request["moved"])
    case, size, gradient = BY_ID[request["case"]], request["size"], request["gradient"]
    if who == "mpsnn":
        return OurStep(case, size, gradient=gradient)
    return PeerStep(case, size, gradient=gradient, with_forward=request["with_forward"])


def serve(who: str) -> None:
    """Answers requests until the input ends."""
    steps: dict[str, Step] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["step"]
        if request["do"] == "prepare":
            steps[name] = prepared(who, request)
            answer = steps[name].facts()
            if "save" in request:
                for i, result in enumerate(steps[name].results()):
                    np.save(f"{request['save']}{i}.npy", result)
        elif request["do"] == "sample":
            answer = sample(steps[name], request["seconds"])
        else:
            steps.clear()
            answer = {}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
