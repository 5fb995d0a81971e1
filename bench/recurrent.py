# SPDX-License-Identifier: MIT
"""Recurrent layers against PyTorch: sequences, a training step, a decoder's single steps.

    python bench/recurrent.py [--rounds 5] [--seconds 0.5] [--case WORD]

Each contestant has a process of its own and 2 threads; rounds are interleaved. All are float32 and
of the same sizes. A call of ours is an encode, a commit and a wait. PyTorch's GRU resets after the
product with the previous output, ours before it, which makes one product more a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpsnn.measuring import Spread, run_contestant

THREADS = 2
DECODED = 20  # steps of a captioner that are recorded ahead on one command buffer
Calls = dict[str, Callable[[], object]]


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


def our_calls() -> Calls:
    """Ours."""
    import mpsnn as mps

    rng = np.random.default_rng(0)
    device = mps.Device("cpu")
    queue = device.command_queue()

    def weights(inputs: int, outputs: int, neuron: mps.NeuronType | None) -> Any:
        descriptor = mps.ConvolutionDescriptor(1, 1, inputs, outputs)
        values = rng.uniform(-0.05, 0.05, (outputs, 1, 1, inputs)).astype(np.float32)
        if neuron is None:
            return mps.ConvolutionDataSource(descriptor, values)
        descriptor.fused_neuron_descriptor = mps.NeuronDescriptor(neuron, 1.0, 1.0)
        return mps.ConvolutionDataSource(descriptor, values, np.zeros(outputs, np.float32))

    def layer_of(kind: Any, gates: dict[str, mps.NeuronType], size: Size) -> Any:
        descriptor = kind(size.inputs, size.outputs)
        for gate, neuron in gates.items():
            of_input = weights(size.inputs, size.outputs, neuron)
            setattr(descriptor, f"{gate}_gate_input_weights", of_input)
            of_state = weights(size.outputs, size.outputs, None)
            setattr(descriptor, f"{gate}_gate_recurrent_weights", of_state)
        return descriptor

    def lstm(size: Size) -> Any:
        sigmoid, tanh = mps.NeuronType.SIGMOID, mps.NeuronType.TANH
        gates = {"input": sigmoid, "forget": sigmoid, "output": sigmoid, "cell": tanh}
        return layer_of(mps.LSTMDescriptor, gates, size)

    def gru(size: Size) -> Any:
        sigmoid, tanh = mps.NeuronType.SIGMOID, mps.NeuronType.TANH
        gates = {"input": sigmoid, "recurrent": sigmoid, "output": tanh}
        return layer_of(mps.GRUDescriptor, gates, size)

    def matrices(size: Size, columns: int) -> list[mps.Matrix]:
        return [
            mps.Matrix.from_array(device, rng.standard_normal((size.rows, columns), np.float32))
            for _ in range(size.steps)
        ]

    def finish(commands: mps.CommandBuffer) -> None:
        commands.commit()
        commands.wait_until_completed()

    calls: Calls = {}

    def sequence(descriptor: Any, size: Size) -> Callable[[], object]:
        layer = mps.RNNMatrixInferenceLayer(device, descriptor)
        x, y = matrices(size, size.inputs), matrices(size, size.outputs)

        def run() -> None:
            commands = mps.CommandBuffer(queue)
            layer.encode_sequence(commands, x, y)
            finish(commands)

        return run

    for size in SIZES:
        calls[f"LSTM, {size}"] = sequence(lstm(size), size)
        calls[f"GRU, {size}"] = sequence(gru(size), size)
    trained = mps.RNNMatrixTrainingLayer(device, lstm(TRAINED))
    kernels, held = trained.create_weight_matrices(), trained.create_weight_gradient_matrices()
    updates = [mps.OptimizerStochasticGradientDescentUpdate(device) for _ in kernels]
    x, y = matrices(TRAINED, TRAINED.inputs), matrices(TRAINED, TRAINED.outputs)
    dx, dy = matrices(TRAINED, TRAINED.inputs), matrices(TRAINED, TRAINED.outputs)

    def train() -> None:
        commands = mps.CommandBuffer(queue)
        kept, _ = trained.encode_forward_sequence(commands, x, y, kernels)
        trained.encode_gradient_sequence(commands, x, dy, dx, held, kept, kernels)
        for update, gradient, weight in zip(updates, held, kernels, strict=True):
            update.encode(commands, gradient, weight, weight)
        finish(commands)

    calls[f"LSTM trained, {TRAINED}"] = train
    decoder = mps.RNNMatrixInferenceLayer(device, lstm(WORD))
    word, output = matrices(WORD, WORD.inputs)[:1], matrices(WORD, WORD.outputs)[:1]

    def record() -> mps.CommandBuffer:
        commands, states = mps.CommandBuffer(queue), [None]
        for _ in range(DECODED):
            states = decoder.encode_sequence(commands, word, output, states[0])
        return commands

    calls[f"LSTM, {DECODED} single steps"] = lambda: finish(record())
    calls[f"LSTM, {DECODED} single steps, recorded only"] = record
    return calls


CONTESTANTS = {"mpsnn": our_calls, "torch": torch_calls}


def measure(name: str, seconds: float, word: str) -> None:
    """Prints the median time of each case as a line of JSON."""
    times = {}
    for case, call in CONTESTANTS[name]().items():
        if word not in case:
            continue
        for _ in range(3):
            call()
        taken: list[float] = []
        started = time.perf_counter()
        while time.perf_counter() - started < seconds or len(taken) < 5:
            before = time.perf_counter()
            call()
            taken.append(time.perf_counter() - before)
        times[case] = statistics.median(taken)
    print(json.dumps(times), flush=True)


def main() -> None:
    """Parses the arguments; compares, or measures one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each case and round")
    parser.add_argument("--case", default="", help="only cases with this word")
    parser.add_argument("--contestant", choices=list(CONTESTANTS), help="measure only this one")
    arguments = parser.parse_args()
    if arguments.contestant:
        measure(arguments.contestant, arguments.seconds, arguments.case)
        return
    medians: dict[str, dict[str, list[float]]] = {name: {} for name in CONTESTANTS}
    for _ in range(arguments.rounds):
        for name in CONTESTANTS:
            command = [__file__, "--contestant", name, "--case", arguments.case]
            command += ["--seconds", str(arguments.seconds)]
            for case, taken in run_contestant(name, command, THREADS).items():
                medians[name].setdefault(case, []).append(taken)
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
