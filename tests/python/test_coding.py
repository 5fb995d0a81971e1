# SPDX-License-Identifier: MIT
"""Objects of one's own classes in archives: stored by themselves, restored only where named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

DESCRIPTOR = mps.ConvolutionDescriptor(1, 1, 3, 2)


class Settings(mps.SecureCoding):
    """Holds every type of value."""

    def __init__(self, values: dict[str, object]) -> None:
        self.values = values

    def encode(self, coder: mps.Coder) -> None:
        """Stores what it was made from."""
        for key, value in self.values.items():
            coder.encode(key, value)  # type: ignore[arg-type]

    @classmethod
    def decode(cls, coder: mps.Coder) -> Settings:
        """Makes an object again."""
        return cls({key: coder.decode(key) for key in coder.keys()})  # noqa: SIM118


class Scaled(mps.ConvolutionDataSource, mps.SecureCoding):
    """Weights that are computed."""

    def __init__(self, scale: float, optimizer: mps.Optimizer | None = None) -> None:
        super().__init__(DESCRIPTOR, None, label="scaled", optimizer=optimizer)
        self.scale = scale

    def values(self, parameter: str) -> NDArray[np.float32]:
        """The weights."""
        assert parameter == "weights"
        return np.full((2, 1, 1, 3), self.scale, np.float32)

    def encode(self, coder: mps.Coder) -> None:
        """Stores what it was made from."""
        coder.encode("scale", self.scale)

    @classmethod
    def decode(cls, coder: mps.Coder) -> Scaled:
        """Makes an object again."""
        scale = coder.decode("scale")
        assert isinstance(scale, float)
        return cls(scale)


VALUES: dict[str, object] = {
    "flag": True,
    "count": -3,
    "large": 2**64 - 1,
    "rate": 0.1,
    "infinite": float("inf"),
    "text": "café",
    "integers": [1, 2, 3],
    "numbers": [0.5, 1.5],
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
}


def written(path: Path, **objects: mps.SecureCoding) -> Path:
    archiver = mps.KeyedArchiver()
    for key, value in objects.items():
        archiver.encode(key, value)
    archiver.write(path)
    return path


def test_values_come_back(cpu: mps.Device, tmp_path: Path) -> None:
    path = written(tmp_path / "net", settings=Settings(VALUES))
    archive = mps.KeyedUnarchiver(cpu, [Settings]).open(path)
    assert archive.object_keys() == ["settings"]
    back = archive.decode_object("settings")
    assert isinstance(back, Settings)
    assert back.values.keys() == VALUES.keys()
    for key, value in VALUES.items():
        assert type(back.values[key]) is type(value), key
        assert np.array_equal(back.values[key], value), key  # type: ignore[arg-type]


def test_classes_that_were_not_named_are_refused(cpu: mps.Device, tmp_path: Path) -> None:
    path = written(tmp_path / "net", settings=Settings({}))
    with pytest.raises(mps.ArchiveError, match='allows, which are none, got "Settings"'):
        mps.KeyedUnarchiver(cpu).open(path).decode_object("settings")
    with pytest.raises(mps.ArchiveError, match='one of "Scaled", got "Settings"'):
        mps.KeyedUnarchiver(cpu, [Scaled]).open(path).decode_object("settings")


def run(graph: mps.Graph) -> mps.GraphOutputs:
    commands = mps.CommandBuffer(graph.device.command_queue())
    image = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    labels = np.zeros((1, 2, 2, 2), np.float32)
    outputs = graph.encode(
        commands, {k: {"x": image, "labels": labels}[k] for k in graph.source_handles}
    )
    commands.commit()
    return outputs


def trainer(device: mps.Device, source: mps.ConvolutionDataSource) -> mps.Graph:
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    loss = mps.ForwardLossNode(
        node, mps.ImageNode("labels"), mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR)
    )
    loss.result_image.handle = "loss"
    ends = mps.InitialGradientNode(loss).training_graph()
    return mps.Graph(
        device,
        [loss.result_image, *(end.result_image for end in ends)],
        [True, *([False] * len(ends))],
    )


def test_a_data_source_goes_on_bit_for_bit(cpu: mps.Device, tmp_path: Path) -> None:
    source = Scaled(0.25, mps.OptimizerAdam(0.1))
    graph = trainer(cpu, source)
    run(graph)
    archiver = mps.KeyedArchiver()
    archiver.encode("train", graph)
    archiver.write(tmp_path / "net")
    expected = [run(graph)["loss"].read().tobytes() for _ in range(3)]
    with pytest.raises(mps.ArchiveError, match='got "Scaled"'):
        mps.KeyedUnarchiver(cpu).open(tmp_path / "net").decode_graph("train")
    again = mps.KeyedUnarchiver(cpu, [Scaled]).open(tmp_path / "net").decode_graph("train")
    (back,) = again.data_sources
    assert isinstance(back, Scaled)
    assert back is not source
    assert back.scale == 0.25
    assert back.label == "scaled"
    assert cpu.time_step(back) == 1
    assert [run(again)["loss"].read().tobytes() for _ in range(3)] == expected


def test_an_own_data_source_without_coding_is_archived_as_its_base(
    cpu: mps.Device, tmp_path: Path
) -> None:
    class Plain(mps.ConvolutionDataSource):
        def values(self, parameter: str) -> NDArray[np.float32]:
            assert parameter == "weights"
            return np.full((2, 1, 1, 3), 5, np.float32)

    source = Plain(DESCRIPTOR, None)
    archiver = mps.KeyedArchiver()
    archiver.encode("source", source, cpu)
    archiver.write(tmp_path / "net")
    back = mps.KeyedUnarchiver(cpu).open(tmp_path / "net").decode_data_source("source")
    assert type(back) is mps.ConvolutionDataSource
    assert (back.initial("weights") == 5).all()


def test_what_a_class_raises_comes_out(cpu: mps.Device, tmp_path: Path) -> None:
    class Failing(Settings):
        @classmethod
        def decode(cls, coder: mps.Coder) -> Failing:
            """Fails."""
            raise LookupError(f"no {coder.keys()}")

    class Other(Settings):
        @classmethod
        def decode(cls, coder: mps.Coder) -> Settings:
            """Fails."""
            return Settings({"key": coder.keys()})

    path = written(tmp_path / "net", a=Failing({"key": 1}), b=Other({}))
    archive = mps.KeyedUnarchiver(cpu, [Failing, Other]).open(path)
    with pytest.raises(LookupError, match="no"):
        archive.decode_object("a")
    with pytest.raises(mps.ArgumentTypeError, match="Other: decode: expected an object of it"):
        archive.decode_object("b")
    with pytest.raises(NotImplementedError, match="encode"):
        mps.KeyedArchiver().encode("c", mps.SecureCoding())


def test_wrong_arguments(cpu: mps.Device) -> None:
    coder = mps.Coder()
    coder.encode("a", 1)
    with pytest.raises(mps.InvalidArgumentError, match="a new one"):
        coder.encode("a", 2)
    with pytest.raises(mps.InvalidArgumentError, match=r'"text": expected text that UTF-8 can say'):
        coder.encode("text", "\ud800")
    with pytest.raises(mps.ArgumentTypeError, match="float64"):
        coder.encode("b", np.zeros(2))  # type: ignore[arg-type]
    with pytest.raises(mps.ArchiveError, match='"b": expected a value, got none'):
        coder.decode("b")
    assert "a" in coder
    with pytest.raises(mps.ArgumentTypeError, match="classes that derive from SecureCoding"):
        mps.KeyedUnarchiver(cpu, [dict])  # type: ignore[list-item]
    with pytest.raises(mps.InvalidArgumentError, match="again"):
        mps.KeyedUnarchiver(cpu, [Scaled, Scaled])
    archiver = mps.KeyedArchiver()
    with pytest.raises(mps.ArgumentTypeError, match="expected a Graph"):
        archiver.encode("x", 3)  # type: ignore[call-overload]
    with pytest.raises(mps.ArgumentTypeError, match="device"):
        archiver.encode("x", Scaled(1.0))
