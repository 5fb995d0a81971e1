# SPDX-License-Identifier: MIT
"""Archives: what comes back is what went in, and training goes on bit for bit."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import nets
import numpy as np
import pytest
from test_training_graph import OPTIMIZERS

import mpsnn as mps


def save(path: Path, **graphs: mps.Graph) -> None:
    archiver = mps.KeyedArchiver()
    for key, graph in graphs.items():
        archiver.encode(key, graph)
    archiver.set_metadata("note", 'ünïcode "quoted" \\ and\nlines')
    archiver.write(path)


def train(graph: mps.Graph, index: int) -> bytes:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, nets.batch(index))
    commands.commit()
    return outputs["loss"].read().tobytes()


def infer(graph: mps.Graph) -> np.ndarray:
    commands = mps.CommandBuffer(graph.device.command_queue())
    sources = nets.batch()
    result = graph.encode(commands, {name: sources[name] for name in graph.source_handles})[0]
    commands.commit()
    assert result is not None
    return result.read()


def test_round_trip(device: mps.Device, tmp_path: Path) -> None:
    net = nets.build(device, nets.first_weights(), mps.OptimizerAdam(1e-3), 1e-3)
    net.inference.label = "my net"
    train(net.step, 0)
    path = tmp_path / "net.safetensors"
    save(path, inference=net.inference, training=net.step)
    archive = mps.KeyedUnarchiver(device).open(path)
    assert sorted(archive.keys()) == ["inference", "training"]
    assert archive.metadata["note"] == 'ünïcode "quoted" \\ and\nlines'
    graph = archive.decode_graph("inference")
    assert graph.label == "my net"
    assert graph.source_handles == net.inference.source_handles
    assert graph.device == device
    originals = {id(source) for source in net.inference.data_sources}
    assert not originals & {id(source) for source in graph.data_sources}
    np.testing.assert_array_equal(infer(graph), infer(net.inference))
    assert [type(node) for node in graph.nodes] == [type(node) for node in net.inference.nodes]
    assert [node.label for node in graph.nodes] == [node.label for node in net.inference.nodes]
    for restored, original in zip(graph.nodes, net.inference.nodes, strict=True):
        assert restored.attributes == original.attributes
        assert restored.padding_policy == original.padding_policy
    labels = [source.label for source in graph.data_sources]
    assert labels == [source.label for source in net.inference.data_sources]


def test_graphs_of_one_archive_share_their_data_sources(device: mps.Device, tmp_path: Path) -> None:
    net = nets.build(device, nets.first_weights(), mps.OptimizerAdam(1e-3), 1e-3)
    path = tmp_path / "net.safetensors"
    save(path, inference=net.inference, training=net.step)
    archive = mps.KeyedUnarchiver(device).open(path)
    inference, training = archive.decode_graph("inference"), archive.decode_graph("training")
    before = infer(inference)
    train(training, 0)
    assert not np.array_equal(before, infer(inference))
    train(net.step, 0)
    np.testing.assert_array_equal(infer(inference), infer(net.inference))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_bit_for_bit(device: mps.Device, tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.safetensors"
    net = nets.build(device, nets.first_weights(), OPTIMIZERS[name][0](), 1e-3)
    for index in range(3):
        train(net.step, index)
    save(path, training=net.step)
    expected = [train(net.step, index) for index in range(4)]
    restored = mps.KeyedUnarchiver(device).open(path).decode_graph("training")
    assert [train(restored, index) for index in range(4)] == expected
    originals = {source.label: source for source in net.step.data_sources}
    for source in restored.data_sources:
        original = originals[source.label]
        assert device.parameter_names(source) == device.parameter_names(original)
        assert device.time_step(source) == device.time_step(original)
        assert source.trainable == original.trainable
        assert type(source.optimizer) is type(original.optimizer)
        if source.optimizer is not None and original.optimizer is not None:
            assert source.optimizer.attributes == original.optimizer.attributes
        for parameter in device.parameter_names(source):
            got, wanted = (device.read_parameter(s, parameter) for s in (source, original))
            assert got.tobytes() == wanted.tobytes(), f"{source.label}: {parameter}"


def test_optimizers_that_were_one_stay_one(device: mps.Device, tmp_path: Path) -> None:
    net = nets.build(device, nets.first_weights(), mps.OptimizerAdam(1e-3))
    path = tmp_path / "net.safetensors"
    save(path, training=net.step)
    restored = mps.KeyedUnarchiver(device).open(path).decode_graph("training")
    optimizers = [s.optimizer for s in restored.data_sources if s.optimizer is not None]
    assert len(optimizers) == len(nets.LAYERS)
    optimizers[0].learning_rate = 0.5
    assert all(optimizer.learning_rate == 0.5 for optimizer in optimizers)


def test_the_file_is_plain_safetensors(device: mps.Device, tmp_path: Path) -> None:
    net = nets.build(device, nets.first_weights(), None)
    path = tmp_path / "net.safetensors"
    save(path, inference=net.inference)
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert all(isinstance(value, str) for value in header.pop("__metadata__").values())
    found = {}
    end = 0
    for name, tensor in header.items():
        first, last = tensor["data_offsets"]
        found[name] = np.frombuffer(data[8 + length + first : 8 + length + last], np.float32)
        end = max(end, last)
        assert found[name].size == np.prod(tensor["shape"])
    assert end == len(data) - 8 - length, "bytes that no tensor holds"
    for layer in nets.LAYERS:
        expected = net.sources[layer].weights.ravel()
        assert any(np.array_equal(array, expected) for array in found.values()), layer


def test_safetensors_own_reader_reads_it(device: mps.Device, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    net = nets.build(device, nets.first_weights(), None)
    path = tmp_path / "net.safetensors"
    save(path, inference=net.inference)
    arrays = safetensors.load_file(path)
    assert any(np.array_equal(a, net.sources["first"].weights) for a in arrays.values())


def test_writing_again_replaces_the_file(device: mps.Device, tmp_path: Path) -> None:
    net = nets.build(device, nets.first_weights(), mps.OptimizerAdam(1e-3), 1e-3)
    path = tmp_path / "net.safetensors"
    save(path, training=net.step)
    first = path.read_bytes()
    train(net.step, 0)
    save(str(path), training=net.step)  # type: ignore[arg-type]
    assert path.read_bytes() != first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_same_state_gives_the_same_file(device: mps.Device, tmp_path: Path) -> None:
    for name in ("a", "b"):
        net = nets.build(device, nets.first_weights(), mps.OptimizerAdam(1e-3), 1e-3)
        train(net.step, 0)
        save(tmp_path / name, training=net.step)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_open_archive_outlives_its_file(device: mps.Device, tmp_path: Path) -> None:
    net = nets.build(device, nets.first_weights(), None)
    path = tmp_path / "net.safetensors"
    save(path, inference=net.inference)
    archive = mps.KeyedUnarchiver(device).open(path)
    path.unlink()
    graph = archive.decode_graph("inference")
    del archive
    np.testing.assert_array_equal(infer(graph), infer(net.inference))


@pytest.mark.parametrize(
    ("kernel", "options", "moments"),
    [
        ("OptimizerStochasticGradientDescentUpdate", {"momentum_scale": 0.9}, 1),
        ("OptimizerAdamUpdate", {"beta1": 0.8, "beta2": 0.97, "time_step": 5}, 2),
        ("OptimizerRMSPropUpdate", {"decay": 0.7, "epsilon": 1e-6}, 1),
    ],
)
def test_optimizer_updates_go_on(
    device: mps.Device, tmp_path: Path, kernel: str, options: dict[str, float], moments: int
) -> None:
    """The parameters and the count come back, and the next step is the same to the bit."""
    random = np.random.default_rng(4)
    steps = random.standard_normal((3, 33)).astype(np.float32)

    def step(update: mps.DeviceKernel, gradient: np.ndarray, values: list[mps.Vector]) -> None:
        commands = mps.CommandBuffer(device.command_queue())
        operands = [mps.Vector.from_array(device, gradient), values[0], *values]
        update.encode(commands, *operands)  # type: ignore[attr-defined]
        commands.commit()

    first = [random.standard_normal(33).astype(np.float32)]
    first += [np.zeros(33, np.float32)] * moments
    values = [mps.Vector.from_array(device, array) for array in first]
    update = getattr(mps, kernel)(device, learning_rate=0.5, label="update", **options)
    update.learning_rate = 0.03125
    for gradient in steps[:2]:
        step(update, gradient, values)
    kept = [mps.Vector.from_array(device, np.array(value)) for value in values]
    archiver = mps.KeyedArchiver()
    archiver.encode("update", update)
    archiver.write(tmp_path / "update")
    restored = mps.KeyedUnarchiver(device).open(tmp_path / "update").decode_kernel("update")
    assert (type(restored), restored.label) == (type(update), "update")
    assert restored.attributes == update.attributes
    assert restored.attributes["learning_rate"] == 0.03125
    for name in options.keys() - {"time_step"}:
        assert restored.attributes[name] == options[name]
    assert restored.read_state() == update.read_state()
    if "time_step" in options:
        assert np.frombuffer(restored.read_state(), np.int64)[1] == options["time_step"] + 2
    step(update, steps[2], values)
    step(restored, steps[2], kept)
    for value, other, before in zip(values, kept, first, strict=True):
        np.testing.assert_array_equal(np.asarray(value), np.asarray(other))
        assert not np.array_equal(np.asarray(value), before)


def test_an_optimizer_by_itself_is_refused_with_what_is_archived() -> None:
    archiver = mps.KeyedArchiver()
    with pytest.raises(mps.ArgumentTypeError, match=r"DataSource with .*OptimizerAdamUpdate.*got"):
        archiver.encode("adam", mps.OptimizerAdam())  # type: ignore[call-overload]


def test_an_archive_of_version_1_is_read(cpu: mps.Device) -> None:
    """A file written when this was the newest version; later ones must read it, too."""
    path = Path(__file__).resolve().parent.parent / "data" / "archive_v1.safetensors"
    archive = mps.KeyedUnarchiver(cpu).open(path)
    assert (archive.keys(), archive.kernel_keys()) == (["net"], ["noise"])
    assert archive.metadata["note"] == "version 1"
    graph = archive.decode_graph("net")
    assert (graph.label, graph.source_handles) == ("first", ["x"])
    source = archive.decode_data_source("weights")
    assert [id(held) for held in graph.data_sources] == [id(source)]
    weights = np.arange(-4, 8, dtype=np.float32).reshape(4, 3)
    x = np.arange(-12, 12, dtype=np.float32).reshape(1, 2, 4, 3)
    commands = mps.CommandBuffer(cpu.command_queue())
    (result,) = graph.encode(commands, {"x": mps.Image(cpu, x)})
    commands.commit()
    assert result is not None
    expected = np.maximum(x @ weights.T + np.array([1, -2, 3, -4], np.float32), 0)
    np.testing.assert_array_equal(result.read(), expected)
    optimizer = source.optimizer
    assert isinstance(optimizer, mps.OptimizerAdam)
    assert (optimizer.learning_rate, optimizer.attributes["beta1"]) == (0.125, 0.75)
    assert cpu.time_step(source) == 7
    assert (cpu.read_parameter(source, "weights.velocity") == 0.5).all()
    noise = archive.decode_kernel("noise")
    assert isinstance(noise, mps.MatrixRandomPhilox)
    assert (noise.label, noise.seed) == ("noise", 5)
    assert noise.read_state() == mps.MatrixRandomPhilox(cpu, seed=5).read_state()
