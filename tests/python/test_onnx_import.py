# SPDX-License-Identifier: MIT
"""ONNX models as graphs: names, shapes, errors, files that nobody vouches for."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_tools import check_close, run_onnx

import mpsnn as mps
from mpsnn.onnx import import_model
from mpsnn.onnx.imports import ROWS

FLOAT = TensorProto.FLOAT
Floats = NDArray[np.float32]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    arrays: dict[str, NDArray[np.generic]] | None = None,
    *,
    opset: int = 21,
    outputs: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model from "x" to its outputs, given with their numbers of axes."""
    ranks = {"y": len(shape)} if outputs is None else outputs
    graph = helper.make_graph(
        list(nodes),
        "tested",
        [helper.make_tensor_value_info("x", FLOAT, list(shape))],
        [
            helper.make_tensor_value_info(name, FLOAT, [f"{name}{i}" for i in range(rank)])
            for name, rank in ranks.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in (arrays or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def numbers(*shape: int) -> Floats:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def compare(model: onnx.ModelProto, device: mps.Device, x: Floats) -> None:
    """Our results and ONNX Runtime's."""
    got = import_model(model).run(device, {"x": x})
    for name, expected in zip(got, run_onnx(model, {"x": x}), strict=True):
        check_close(name, got[name], expected)


def small_net(batch: int | str = 2) -> onnx.ModelProto:
    """As PyTorch exports one: a shape that is computed, a flattening, a product."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node(
            "MaxPool", ["r"], ["p"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Shape", ["p"], ["s"], "shape", end=1),
        helper.make_node("Concat", ["s", "minus"], ["t"], "sizes", axis=0),
        helper.make_node("Reshape", ["p", "t"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "m", "n"], ["y"], "last", transB=1),
    ]
    arrays: dict[str, NDArray[np.generic]] = {
        "w": numbers(5, 3, 3, 3),
        "b": numbers(5),
        "minus": np.array([-1], np.int64),
        "m": numbers(4, 5 * 3 * 4),
        "n": numbers(4),
    }
    return model_of(nodes, [batch, 3, 6, 7], arrays, outputs={"y": 2})


def test_a_small_net(cpu: mps.Device) -> None:
    model = small_net()
    compare(model, cpu, numbers(2, 3, 6, 7))
    read = import_model(model)
    assert read.inputs == {"x": (2, 3, 6, 7)}
    assert read.outputs == {"y": (2, 4)}
    assert not read.constants
    assert read.nodes["conv"].class_name == "ConvolutionNode"
    # The product sees the pixels themselves: nothing is moved.
    assert read.results["y"].producer is not None
    assert read.results["y"].producer.class_name == "FullyConnectedNode"


def test_a_graph_of_ones_own(cpu: mps.Device) -> None:
    """The parts of `run`, and nodes put behind the model's."""
    read = import_model(small_net())
    best = mps.ReductionFeatureChannelsArgumentMaxNode(read.results["y"])
    graph = mps.Graph(cpu, [best, read.results["y"]])
    commands = mps.CommandBuffer(cpu.command_queue())
    x = numbers(2, 3, 6, 7)
    index, values = graph.encode(commands, {"x": read.source("x", x)})
    commands.commit()
    y = read.output("y", np.asarray(values))
    np.testing.assert_array_equal(np.asarray(index).reshape(-1), y.argmax(1))
    np.testing.assert_array_equal(y, read.run(cpu, {"x": x})["y"])


def test_open_shapes(cpu: mps.Device) -> None:
    model = small_net("batch")
    with pytest.raises(mps.InvalidArgumentError, match=r"x: expected a static shape, got \['batch"):
        import_model(model)
    read = import_model(model, sizes={"x": (3, 3, 6, 7)})
    assert read.run(cpu, {"x": numbers(3, 3, 6, 7)})["y"].shape == (3, 4)
    with pytest.raises(mps.InvalidArgumentError, match=r"sizes: .*'z'"):
        import_model(model, sizes={"z": (1,)})
    with pytest.raises(mps.InvalidArgumentError, match="expected 4 axes"):
        import_model(model, sizes={"x": (1, 2)})


@pytest.mark.parametrize(
    "order", [(0, 2, 3, 1), (0, 1, 3, 2), (0, 3, 2, 1), (0, 3, 1, 2), (0, 2, 1, 3)]
)
def test_values_move_where_a_node_wants_them(
    order: tuple[int, int, int, int], cpu: mps.Device
) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=order),
        helper.make_node("GlobalAveragePool", ["t"], ["g"]),
        helper.make_node("Sub", ["t", "g"], ["y"]),
    ]
    compare(model_of(nodes, (2, 3, 4, 5)), cpu, numbers(2, 3, 4, 5))


def test_constants_and_broadcasting(cpu: mps.Device) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "channel"], ["a"]),
        helper.make_node("Add", ["a", "pixel"], ["b"]),
        helper.make_node("Div", ["one", "b"], ["c"]),
        helper.make_node("Max", ["c", "b", "half"], ["y"]),
    ]
    arrays: dict[str, NDArray[np.generic]] = {
        "channel": numbers(3, 1, 1),
        "pixel": numbers(4, 5),
        "one": np.float32(1).reshape(()),
        "half": np.float32(0.5).reshape(1),
    }
    model = model_of(nodes, (2, 3, 4, 5), arrays)
    compare(model, cpu, numbers(2, 3, 4, 5))
    assert len(import_model(model).constants) == 3


def test_operators_without_a_node_test(cpu: mps.Device) -> None:
    nodes = [helper.make_node("GlobalLpPool", ["x"], ["y"], p=2)]
    compare(model_of(nodes, (2, 3, 4, 5)), cpu, numbers(2, 3, 4, 5))


def test_without_the_package() -> None:
    program = "import sys; sys.modules['onnx'] = None; import mpsnn.onnx"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 1
    assert "pip install 'mpsnn[onnx]'" in done.stderr


def test_an_output_that_is_an_input_or_a_constant(cpu: mps.Device) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Transpose", ["x"], ["z"]),
        helper.make_node("Add", ["a", "a"], ["twice"]),
    ]
    model = model_of(nodes, (2, 3), {"a": numbers(3)}, outputs={"y": 2, "z": 2, "twice": 1})
    x = numbers(2, 3)
    got = import_model(model).run(cpu, {"x": x})
    np.testing.assert_array_equal(got["y"], x)
    np.testing.assert_array_equal(got["z"], x.T)
    np.testing.assert_array_equal(got["twice"], 2 * numbers(3))


def test_run_refuses_other_inputs(cpu: mps.Device) -> None:
    read = import_model(small_net())
    with pytest.raises(mps.InvalidArgumentError, match=r"missing \['x'\]"):
        read.run(cpu, {})
    with pytest.raises(mps.InvalidArgumentError, match=r"x: expected shape \(2, 3, 6, 7\)"):
        read.run(cpu, {"x": numbers(1, 3, 6, 7)})
    with pytest.raises(mps.ArgumentTypeError, match="x: expected float32, got float64"):
        read.run(cpu, {"x": np.zeros((2, 3, 6, 7))})
    with pytest.raises(mps.InvalidArgumentError, match="got 'z'"):
        read.run(cpu, {"x": numbers(2, 3, 6, 7), "z": numbers(1)})
    with pytest.raises(mps.InvalidArgumentError, match="results"):
        read.graph(cpu, ["nothing"])
    with pytest.raises(mps.InvalidArgumentError, match=r"outputs: expected \['y'\], got 'z'"):
        read.output("z", numbers(2, 6, 7, 4))


@pytest.mark.parametrize("missing", ["type", "shape"])
@pytest.mark.parametrize("title", ["input", "output"])
def test_inputs_and_outputs_without_a_shape_are_named(title: str, missing: str) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], (1, 1, 2, 2))
    (value,) = getattr(model.graph, title)
    if missing == "type":
        value.ClearField("type")
    else:
        value.type.tensor_type.ClearField("shape")
    text = f"{title} {value.name}: expected a type with a shape, .* gives no {missing}"
    with pytest.raises(mps.ArchiveError, match=text):
        import_model(model)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (helper.make_node("Sin", ["x"], ["y"], "wave"), r"wave \(Sin\): there are no nodes"),
        (helper.make_node("Foo", ["x"], ["y"], "own", domain="my"), r"own \(my.Foo\)|my"),
        (
            helper.make_node("Conv", ["x", "x"], ["y"], "conv"),
            r"conv \(Conv\): input 1: .*constant",
        ),
        (
            helper.make_node("MaxPool", ["x"], ["y", "i"], "pool", kernel_shape=[2, 2]),
            r"pool \(MaxPool\): .*Indices",
        ),
    ],
)
def test_unsupported_nodes_are_named(node: onnx.NodeProto, reason: str) -> None:
    model = model_of([node], (1, 3, 4, 4))
    model.opset_import.append(helper.make_opsetid("my", 1))
    with pytest.raises(mps.UnsupportedError, match=reason):
        import_model(model)


@pytest.mark.parametrize(
    ("shape", "perm"), [((2, 3), [0, 0]), ((2, 3), [2, 0, 1])], ids=["twice", "too many"]
)
def test_a_transposition_of_no_order_is_an_archive_error(
    shape: tuple[int, ...], perm: list[int]
) -> None:
    node = helper.make_node("Transpose", ["x"], ["y"], "turn", perm=perm)
    with pytest.raises(mps.ArchiveError, match=r"import_model: turn \(Transpose\)"):
        import_model(model_of([node], shape))


def test_selections_of_too_many_pieces_are_refused() -> None:
    slices = {name: np.array([value]) for name, value in (("s", -1), ("e", -(2**31)), ("a", 3))}
    node = helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"], "back")
    model = model_of([node], (1, 1, 1, 5000), {**slices, "t": np.array([-1])})
    with pytest.raises(mps.UnsupportedError, match=r"back \(Slice\): a selection of 5000 pieces"):
        import_model(model)


def test_a_result_of_open_shape_names_its_node() -> None:
    nodes = [helper.make_node("Resize", ["x", "", "k"], ["y"], "grow")]
    model = model_of(nodes, (1, 1, 2, 2))
    model.graph.input.append(helper.make_tensor_value_info("k", FLOAT, [4]))
    with pytest.raises(mps.UnsupportedError, match=r"grow \(Resize\): the shape of y is not known"):
        import_model(model)


def test_the_domain_of_onnx_by_its_other_name(cpu: mps.Device) -> None:
    model = small_net()
    x = numbers(2, 3, 6, 7)
    expected = import_model(model).run(cpu, {"x": x})
    for entry in (*model.graph.node, *model.opset_import):
        entry.domain = "ai.onnx"
    got = import_model(model).run(cpu, {"x": x})
    np.testing.assert_array_equal(got["y"], expected["y"])


def test_a_flattening_stays_one_behind_a_dropout(cpu: mps.Device) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flat"),
        helper.make_node("Dropout", ["f"], ["d"], "drop"),
        helper.make_node("Gemm", ["d", "m"], ["y"], "last", transB=1),
    ]
    model = model_of(nodes, (2, 3, 4, 5), {"m": numbers(4, 60)}, outputs={"y": 2})
    assert isinstance(import_model(model).nodes["last"], mps.FullyConnectedNode)
    compare(model, cpu, numbers(2, 3, 4, 5))


def test_a_node_that_cannot_be_made_is_named() -> None:
    wide = helper.make_node("Conv", ["x", "w"], ["y"], "wide", strides=[1, 1])
    model = model_of([wide], (1, 5, 4, 4), {"w": numbers(2, 3, 1, 1)})
    with pytest.raises(mps.Error, match=r"wide \(Conv\)"):
        import_model(model)


# ---- files ------------------------------------------------------------------------------------


def saved(tmp_path: Path, **more: str) -> Path:
    """The small net with its data in a file beside it."""
    model = small_net()
    data = b"".join(tensor.raw_data for tensor in model.graph.initializer)
    offset = 0
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        entries = {"location": "data.bin", "offset": str(offset), "length": str(size), **more}
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        offset += size
    (tmp_path / "data.bin").write_bytes(data)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data(cpu: mps.Device, tmp_path: Path) -> None:
    x = numbers(2, 3, 6, 7)
    expected = import_model(small_net()).run(cpu, {"x": x})["y"]
    path = saved(tmp_path)
    np.testing.assert_array_equal(import_model(path).run(cpu, {"x": x})["y"], expected)
    with pytest.raises(mps.ArchiveError, match="comes from no file"):
        import_model(path.read_bytes())


@pytest.mark.parametrize(
    "more",
    [
        {"location": "../secret.bin"},
        {"location": "/etc/hostname"},
        {"location": ""},
        {"location": "link.bin"},
        {"location": "no\0name"},
        {"offset": "-1"},
        {"offset": "999999999999999999999"},
        {"offset": "many"},
        {"length": "7"},
        {"size": "1"},
    ],
    ids=str,
)
def test_external_data_elsewhere_is_refused(more: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(100_000))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(mps.ArchiveError, match="external data"):
        import_model(saved(folder, **more))


def test_files(tmp_path: Path) -> None:
    with pytest.raises(mps.FileError, match=r"nothing\.onnx"):
        import_model(tmp_path / "nothing.onnx")
    for content in (b"", b"no model", b"\xff" * 100):
        with pytest.raises(mps.ArchiveError):
            import_model(content)


def test_truncated_and_changed_files() -> None:
    """An error or a model, whatever the bytes: nothing else, and no crash."""
    whole = small_net().SerializeToString()
    rng = random.Random(0)  # noqa: S311 (no secrets)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        if rng.random() < 0.4:
            del content[rng.randrange(len(content)) :]
        for _ in range(rng.randrange(1, 4)):
            # Most of the file are weights: what is around them is changed.
            at = rng.choice([rng.randrange(300), len(content) - 1 - rng.randrange(300)])
            content[at % len(content)] = rng.randrange(256)
        try:
            import_model(bytes(content))
        except mps.Error:
            refused += 1
    assert refused > 75


def test_weights_and_windows_of_other_ranks() -> None:
    """ONNX's own inference would end the process."""
    for shape, more in [((3,), {}), ((2, 3, 1), {}), ((2, 3, 1, 1), {"strides": [1]})]:
        node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **more)
        with pytest.raises(mps.ArchiveError, match=r"conv \(Conv\): .*expected"):
            import_model(model_of([node], (1, 3, 4, 4), {"w": numbers(*shape)}))
    far = helper.make_node("LayerNormalization", ["x", "w"], ["y"], "layer", axis=2**31)
    with pytest.raises(mps.ArchiveError, match=r"layer .*axis: expected numbers from -8 to 8"):
        import_model(model_of([far], (1, 3, 4, 4), {"w": numbers(4)}))
    pool = helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[1, 1])
    with pytest.raises(mps.ArchiveError, match=r"pool \(MaxPool\): .*3 axes"):
        import_model(model_of([pool], (3, 4)))


def changed(model: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto:
    """With a number, an operator or a connection that is another."""
    numbers_found = [0, -1, 1, 2, 7, 2**20, 2**31, 2**40, 2**62, -(2**63)]
    found = onnx.ModelProto()
    found.CopyFrom(model)
    node = rng.choice(found.graph.node)
    kind = rng.randrange(5)
    if kind == 0 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.i = rng.choice(numbers_found)
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(numbers_found)
    elif kind == 1:
        tensor = rng.choice(found.graph.initializer)
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(numbers_found)
    elif kind == 2:
        shape = found.graph.input[0].type.tensor_type.shape
        rng.choice(shape.dim).dim_value = rng.choice(numbers_found)
    elif kind == 3:
        node.op_type = rng.choice(sorted(ROWS))
    else:
        values = [*found.graph.initializer, *found.graph.input]
        node.input[rng.randrange(len(node.input))] = rng.choice(values).name
    return found


def test_changed_models() -> None:
    """An error or a model; ONNX's own inference ends the process for some of these."""
    rng = random.Random(1)  # noqa: S311 (no secrets)
    refused = 0
    for _ in range(300):
        model = small_net()
        for _ in range(rng.randrange(1, 4)):
            model = changed(model, rng)
        try:
            import_model(model)
        except mps.Error:
            refused += 1
    assert refused > 150


def test_cycles_and_missing_values() -> None:
    cycle = [
        helper.make_node("Add", ["x", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "second"),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    with pytest.raises(mps.ArchiveError, match="import_model"):
        import_model(model_of(cycle, (1, 2)))
    with pytest.raises(mps.ArchiveError):
        import_model(model_of([helper.make_node("Relu", ["z"], ["y"])], (1, 2)))
    with pytest.raises(mps.ArchiveError):
        import_model(model_of([helper.make_node("Relu", ["x"], ["other"])], (1, 2)))


def test_absurd_dimensions() -> None:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    for shape in [(2**40, 1), (-3, 2), (2**20, 2**20)]:
        with pytest.raises(mps.Error, match="x"):
            import_model(model_of(relu, shape))
    huge = model_of(
        [helper.make_node("ConstantOfShape", ["s"], ["c"], "fill"), *relu],
        (1, 2),
        {"s": np.array([2**20, 2**12], np.int64)},
    )
    with pytest.raises(mps.Error, match=r"fill \(ConstantOfShape\).*too large|most"):
        import_model(huge)
    lying = small_net()
    lying.graph.initializer[0].dims[0] = 2**33
    with pytest.raises(mps.ArchiveError, match="w: expected at most"):
        import_model(lying)
    lying.graph.initializer[0].dims[0] = 6
    with pytest.raises(mps.ArchiveError):
        import_model(lying)


@pytest.mark.parametrize("opset", [0, 10**6])
def test_other_versions(opset: int) -> None:
    model = small_net()
    model.opset_import[0].version = opset
    with pytest.raises(mps.ArchiveError):
        import_model(model)


def test_many_opsets(cpu: mps.Device) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Softmax", ["r"], ["y"])]
    for opset in (13, 15, 17, 19, 21, 22):
        compare(model_of(nodes, (2, 3), opset=opset), cpu, numbers(2, 3))
    old = [helper.make_node("Softmax", ["x"], ["y"], "last")]
    with pytest.raises(mps.UnsupportedError, match=r"last \(Softmax\): expected .* opset 13"):
        import_model(model_of(old, (2, 3), opset=11))


@pytest.mark.parametrize("opset", [13, 18, 19, 21, 23, onnx.defs.onnx_opset_version()])
def test_operators_whose_form_changed(cpu: mps.Device, opset: int) -> None:
    """Axes were attributes and became sources; modes came later."""
    image = (1, 3, 4, 6)
    x = numbers(*image)
    axes = {"axes": np.array([2, 3], np.int64)}
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3])
    if opset >= 18:
        mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"])
    compare(model_of([mean], image, axes if opset >= 18 else {}, opset=opset), cpu, x)
    total = helper.make_node("ReduceSum", ["x", "axes"], ["y"])
    compare(model_of([total], image, axes, opset=opset), cpu, x)
    resize = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    compare(model_of([resize], image, scales, opset=opset), cpu, x)
    pad = helper.make_node("Pad", ["x", "pads"], ["y"])
    pads = {"pads": np.array([0, 0, 1, 2, 0, 0, 2, 1], np.int64)}
    compare(model_of([pad], image, pads, opset=opset), cpu, x)
    softmax = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    compare(model_of([softmax], image, opset=opset), cpu, x)
    names = ["scale", "bias", "mean", "variance"]
    norm = helper.make_node("BatchNormalization", ["x", *names], ["y"], epsilon=1e-3)
    arrays = {name: np.abs(numbers(3)) + np.float32(i) for i, name in enumerate(names)}
    compare(model_of([norm], image, arrays, opset=opset), cpu, x)
