# SPDX-License-Identifier: MIT
"""Recurrent layers against PyTorch: sequences, a training step, a decoder's single steps.

    python bench/recurrent.py [--rounds 5] [--seconds 0.5] [--case WORD]

Each contestant has a process of its own and 2 threads; rounds are interleaved. All are float32 and
of the same sizes. A call of ours is an encode, a commit and a wait. PyTorch's GRU resets after the
product with the previous output, ours before it, which makes one product more a step.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import THREADS, Calls, measured_cases
from mpsnn.measuring import Spread

DECODED = 20  # steps of a captioner that are recorded ahead on one command buffer


@dataclass(frozen=True)
class Size:
    """Of a layer and its sequence."""

    steps: int
    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.steps} steps, {self.rows} x {self.inputs} to {self.outputs}"


SIZES = (Size(64, 32, 128, 256), Size(64, 1, 256, 512), Size(16, 8, 32, 64))
TRAINED = SIZES[0]
WORD = Size(DECODED, 1, 256, 512)


def torch_calls() -> Calls:
    """PyTorch's."""
    import torch

    torch.set_num_threads(THREADS)
    calls: Calls = {}

    def sequence(kind: type[torch.nn.RNNBase], size: Size) -> Callable[[], object]:
        layer = kind(size.inputs, size.outputs)
        x = torch.randn(size.steps, size.rows, size.inputs)

        def run() -> None:
            with torch.inference_mode():
                layer(x)

        return run

    for size in SIZES:
        calls[f"LSTM, {size}"] = sequence(torch.nn.LSTM, size)
        calls[f"GRU, {size}"] = sequence(torch.nn.GRU, size)
    layer = torch.nn.LSTM(TRAINED.inputs, TRAINED.outputs)
    optimizer = torch.optim.SGD(layer.parameters(), 1e-3)
    x = torch.randn(TRAINED.steps, TRAINED.rows, TRAINED.inputs, requires_grad=True)
    upstream = torch.randn(TRAINED.steps, TRAINED.rows, TRAINED.outputs)

    def train() -> None:
        optimizer.zero_grad()
        layer(x)[0].backward(upstream)
        optimizer.step()

    calls[f"LSTM trained, {TRAINED}"] = train
    cell, word = torch.nn.LSTMCell(WORD.inputs, WORD.outputs), torch.randn(1, WORD.inputs)

    def decode() -> None:
        with torch.inference_mode():
            state = None
            for _ in range(DECODED):
                state = cell(word, state)

    calls[f"LSTM, {DECODED} single steps"] = decode
    return calls


class Ours:
    """Our layers on a device."""

    def __init__(self) -> None:
        import mpsnn as mps

        self.mps: Any = mps
        self.device = mps.Device("cpu")
        self.queue = self.device.command_queue()
        self.rng = np.random.default_rng(0)

    def weights(self, inputs: int, outputs: int, neuron: object) -> object:
        """A 1x1 convolution; with a neuron, the input's, and with a bias."""
        mps = self.mps
        descriptor = mps.ConvolutionDescriptor(1, 1, inputs, outputs)
        values = self.rng.uniform(-0.05, 0.05, (outputs, 1, 1, inputs)).astype(np.float32)
        if neuron is None:
            return mps.ConvolutionDataSource(descriptor, values)
        descriptor.fused_neuron_descriptor = mps.NeuronDescriptor(neuron, 1.0, 1.0)
        return mps.ConvolutionDataSource(descriptor, values, np.zeros(outputs, np.float32))

    def descriptor(self, kind: str, size: Size) -> object:
        """An LSTM's or a GRU's."""
        mps = self.mps
        make = mps.LSTMDescriptor if kind == "LSTM" else mps.GRUDescriptor
        gates = {
            "LSTM": ("input", "forget", "output", "cell"),
            "GRU": ("input", "recurrent", "output"),
        }[kind]
        descriptor = make(size.inputs, size.outputs)
        for gate in gates:
            is_candidate = gate == ("cell" if kind == "LSTM" else "output")
            neuron = mps.NeuronType.TANH if is_candidate else mps.NeuronType.SIGMOID
            of_input = self.weights(size.inputs, size.outputs, neuron)
            setattr(descriptor, f"{gate}_gate_input_weights", of_input)
            of_state = self.weights(size.outputs, size.outputs, None)
            setattr(descriptor, f"{gate}_gate_recurrent_weights", of_state)
        return descriptor

    def matrices(self, size: Size, columns: int) -> list[Any]:
        """One a step."""
        arrays = self.rng.standard_normal((size.steps, size.rows, columns), np.float32)
        return [self.mps.Matrix.from_array(self.device, array) for array in arrays]

    def finish(self, commands: Any) -> None:
        """Commits and waits."""
        commands.commit()
        commands.wait_until_completed()

    def sequence(self, kind: str, size: Size) -> Callable[[], object]:
        """Inference."""
        layer = self.mps.RNNMatrixInferenceLayer(self.device, self.descriptor(kind, size))
        x, y = self.matrices(size, size.inputs), self.matrices(size, size.outputs)

        def run() -> None:
            commands = self.mps.CommandBuffer(self.queue)
            layer.encode_sequence(commands, x, y)
            self.finish(commands)

        return run

    def training(self, size: Size) -> Callable[[], object]:
        """A step forward, backward and of the optimizer."""
        layer = self.mps.RNNMatrixTrainingLayer(self.device, self.descriptor("LSTM", size))
        weights, held = layer.create_weight_matrices(), layer.create_weight_gradient_matrices()
        updates = [self.mps.OptimizerStochasticGradientDescentUpdate(self.device) for _ in held]
        x, y = self.matrices(size, size.inputs), self.matrices(size, size.outputs)
        dx, dy = self.matrices(size, size.inputs), self.matrices(size, size.outputs)

        def run() -> None:
            commands = self.mps.CommandBuffer(self.queue)
            kept, _ = layer.encode_forward_sequence(commands, x, y, weights)
            layer.encode_gradient_sequence(commands, x, dy, dx, held, kept, weights)
            for update, gradient, weight in zip(updates, held, weights, strict=True):
                update.encode(commands, gradient, weight, weight)
            self.finish(commands)

        return run

    def decoder(self, size: Size) -> Callable[[], Any]:
        """Records single steps, state in and state out, on one command buffer."""
        layer = self.mps.RNNMatrixInferenceLayer(self.device, self.descriptor("LSTM", size))
        x, y = self.matrices(size, size.inputs)[:1], self.matrices(size, size.outputs)[:1]

        def record() -> object:
            commands, state = self.mps.CommandBuffer(self.queue), None
            for _ in range(size.steps):
                (state,) = layer.encode_sequence(commands, x, y, state)
            return commands

        return record


def our_calls() -> Calls:
    """Ours."""
    ours = Ours()
    calls: Calls = {}
    for size in SIZES:
        for kind in ("LSTM", "GRU"):
            calls[f"{kind}, {size}"] = ours.sequence(kind, size)
    calls[f"LSTM trained, {TRAINED}"] = ours.training(TRAINED)
    record = ours.decoder(WORD)
    calls[f"LSTM, {DECODED} single steps"] = lambda: ours.finish(record())
    calls[f"LSTM, {DECODED} single steps, recorded only"] = record
    return calls


CONTESTANTS = {"mpsnn": our_calls, "torch": torch_calls}


def main() -> None:
    """Compares, or measures one contestant."""
    medians = measured_cases(__file__, str(__doc__), CONTESTANTS, rounds=5, seconds=0.5)
    if medians is None:
        return
    print("| case | mpsnn µs | PyTorch µs | time / PyTorch |")
    print("|---|---|---|---|")
    for case, own in medians["mpsnn"].items():
        peer = medians["torch"].get(case)
        ours = f"{statistics.median(own) * 1e6:.0f}"
        if peer is None:
            print(f"| {case} | {ours} | | |")
            continue
        ratio = Spread.of_ratios(own, peer).text()
        print(f"| {case} | {ours} | {statistics.median(peer) * 1e6:.0f} | {ratio} |")


if __name__ == "__main__":
    main()
