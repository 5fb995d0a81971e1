# SPDX-License-Identifier: MIT
"""Archives that move between devices: what the double began the CPU goes on with, and back.

Run by tools/run_metal_double.py, with the module that is built against the double.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/python", "tests/metal")]

import nets  # noqa: E402
import test_archive_kernels as kernel_tests  # noqa: E402
import test_archive_layers as layer_tests  # noqa: E402
from cases.recurrent import RecurrentCase  # noqa: E402
from test_metal_sources import BATCH, NODES, SOURCES, encode, make_node, training_net  # noqa: E402
from test_training_graph import OPTIMIZERS  # noqa: E402

import mpsnn as mps  # noqa: E402

MOVES = [("cpu", "metal-double"), ("metal-double", "cpu")]
# A case for each class and kind of cell; windows are not MPS's.
LAYER_CASES = list(
    {
        (case.kernel, case.cells[0].kind, len(case.cells)): case
        for case in reversed(layer_tests.CASES)
        if all(cell.window == (1, 1) for cell in case.cells)
    }.values()
)
Batch = dict[str, np.ndarray]
Parameters = dict[str, np.ndarray]

moved = pytest.mark.parametrize(
    ("first", "second"), MOVES, ids=[f"{first} to {second}" for first, second in MOVES]
)


def train(graph: mps.Graph, batches: list[Batch]) -> list[float]:
    return [float(np.sum(np.asarray(encode(graph, batch)["loss"]))) for batch in batches]


def parameters(graph: mps.Graph) -> Parameters:
    """Weights, statistics and moments of all data sources, and the steps that were made."""
    found: Parameters = {}
    for source in graph.data_sources:
        for name in graph.device.parameter_names(source):
            value = graph.device.read_parameter(source, name)
            found[f"{source.label}.{name}"] = np.asarray(value)
        found[f"{source.label}.time_step"] = np.asarray(graph.device.time_step(source))
    return found


def move(graph: mps.Graph, kind: str, folder: Path) -> mps.Graph:
    """The graph as an archive restores it on another device; nothing of its state is lost."""
    path = folder / f"{kind}.safetensors"
    archiver = mps.KeyedArchiver()
    archiver.encode("training", graph)
    archiver.write(path)
    restored = mps.KeyedUnarchiver(mps.Device(kind)).open(path).decode_graph("training")
    assert restored.device.kind == kind
    before, after = parameters(graph), parameters(restored)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    return restored


def check_moves(
    make: Callable[[mps.Device], mps.Graph], batches: list[Batch], first: str, second: str, to: Path
) -> mps.Graph:
    """Two steps here, two there, two here again: the losses of six steps here; gives the last."""
    stays = make(mps.Device(first))
    expected = train(stays, batches)
    graph = make(mps.Device(first))
    losses = train(graph, batches[:2])
    graph = move(graph, second, to)
    losses += train(graph, batches[2:4])
    graph = move(graph, first, to)
    losses += train(graph, batches[4:])
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    wanted = parameters(stays)
    for name, value in parameters(graph).items():
        largest = np.abs(wanted[name]).max(initial=0)
        np.testing.assert_allclose(
            value, wanted[name], rtol=1e-3, atol=1e-4 * largest, err_msg=name
        )
    return graph


@moved
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_elsewhere(first: str, second: str, name: str, tmp_path: Path) -> None:
    def make(device: mps.Device) -> mps.Graph:
        return nets.build(device, nets.first_weights(), OPTIMIZERS[name][0](), 1e-3).step

    batches = [nets.batch(index) for index in range(6)]
    graph = check_moves(make, batches, first, second, tmp_path)
    source = next(one for one in graph.data_sources if one.label == "first")
    optimizer = OPTIMIZERS[name][0]()
    assert type(source.optimizer) is type(optimizer)
    assert source.optimizer is not None
    assert source.optimizer.attributes == optimizer.attributes
    assert graph.device.time_step(source) == 6
    # Moments are among what came along.
    names = graph.device.parameter_names(source)
    assert len(names) == 2 * (1 + len(optimizer.moments)), names


@moved
@pytest.mark.parametrize("kind", range(3))
def test_normalizations_go_on_elsewhere(first: str, second: str, kind: int, tmp_path: Path) -> None:
    def make(device: mps.Device) -> mps.Graph:
        source = SOURCES[kind](mps.OptimizerAdam(0.05))
        return training_net(device, partial(make_node, NODES[kind], source))

    check_moves(make, [BATCH] * 6, first, second, tmp_path)


Generator = Callable[..., mps.DeviceKernel]
COUNTS = (101, 300_001, 599, 20_000)


def words(kernel: mps.DeviceKernel, count: int) -> np.ndarray:
    vector = mps.Vector(kernel.device, length=count, data_type=mps.DataType.UINT32)
    commands = mps.CommandBuffer(kernel.device.command_queue())
    kernel.encode(commands, vector)
    commands.commit()
    return np.array(vector)


@moved
@pytest.mark.parametrize("cls", [mps.MatrixRandomPhilox, mps.MatrixRandomMTGP32])
def test_a_stream_of_random_numbers_goes_on_elsewhere(
    first: str, second: str, cls: Generator, tmp_path: Path
) -> None:
    """Each goes on in its own sequence: MTGP32 has not the words of Apple's kernel here."""
    total = sum(COUNTS)
    whole = {kind: words(cls(mps.Device(kind), seed=9), total) for kind in (first, second)}
    if cls is mps.MatrixRandomPhilox:
        np.testing.assert_array_equal(whole[first], whole[second])
    kernel, taken = cls(mps.Device(first), seed=9), 0
    for number, count in enumerate(COUNTS):
        kind = (first, second)[number % 2]
        assert kernel.device.kind == kind
        np.testing.assert_array_equal(words(kernel, count), whole[kind][taken : taken + count])
        taken += count
        archiver = mps.KeyedArchiver()
        archiver.encode("noise", kernel)
        path = tmp_path / f"{number}.safetensors"
        archiver.write(path)
        other = mps.Device((second, first)[number % 2])
        kernel = mps.KeyedUnarchiver(other).open(path).decode_kernel("noise")


@moved
@pytest.mark.parametrize(
    "case", LAYER_CASES, ids=lambda case: f"{case.kernel}-{'-'.join(c.kind for c in case.cells)}"
)
def test_recurrent_layers_go_on_elsewhere(
    first: str, second: str, case: RecurrentCase, tmp_path: Path
) -> None:
    """There and back: the properties, what it computes on either side, and the weights' bits."""
    layer = layer_tests.make_layer(mps.Device(first), case)
    there = layer_tests.restored(layer, mps.Device(second), tmp_path / "there")
    back = layer_tests.restored(there, mps.Device(first), tmp_path / "back")
    assert (tmp_path / "there").read_bytes() == (tmp_path / "back").read_bytes()
    run = layer_tests.RUN[case.kernel]
    wanted = run(layer, case)
    for got, again, want in zip(run(there, case), run(back, case), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(again, want)


@moved
def test_optimizers_of_matrices_go_on_elsewhere(first: str, second: str, tmp_path: Path) -> None:
    """The count of an update's kernel comes along, and the next step is that of where it was."""
    case = next(
        case
        for case in kernel_tests.first_cases()
        if (case.kernel, case.method) == ("OptimizerAdamUpdate", "encode")
    )
    kernel = kernel_tests.make_kernel(mps.Device(first), case)
    kernel_tests.run(kernel, case, times=3)
    there = kernel_tests.restored(kernel, mps.Device(second), tmp_path / "there")
    assert there.read_state() == kernel.read_state()
    results = [np.frombuffer(kernel_tests.run(one, case)[2], np.float32) for one in (kernel, there)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
