# SPDX-License-Identifier: MIT
"""Arrays in and out: copies, sharing, shapes, the buffer and DLPack protocols."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import mpsnn as mps


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.fixture
def relu(cpu: mps.Device) -> mps.Graph:
    return mps.Graph(cpu, [mps.NeuronReLUNode(mps.ImageNode("x")).result_image])


def run(graph: mps.Graph, sources: object) -> mps.GraphOutputs:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, sources)  # type: ignore[arg-type]
    commands.commit()
    return outputs


def test_image_copies_the_array(cpu: mps.Device) -> None:
    array = ramp(2, 3, 4, 5)
    image = mps.Image(cpu, array)
    array[:] = 0
    assert image.size == (2, 3, 4, 5)
    assert image.format == mps.DataType.FLOAT32
    assert image.bytes == 2 * 3 * 4 * 5 * 4
    assert image.device == cpu
    np.testing.assert_array_equal(image.numpy(), ramp(2, 3, 4, 5))


def test_one_image_may_be_of_rank_three(cpu: mps.Device, relu: mps.Graph) -> None:
    assert mps.Image(cpu, ramp(3, 4, 5)).size == (1, 3, 4, 5)
    assert np.asarray(run(relu, {"x": ramp(3, 4, 5)})[0]).shape == (1, 3, 4, 5)


def test_image_of_zeros(cpu: mps.Device) -> None:
    image = mps.Image(cpu, size=(1, 2, 3, 4))
    assert not np.any(image)
    image.label = "zeros"
    assert image.label == "zeros"


def test_arrays_in_any_order_of_memory(cpu: mps.Device) -> None:
    array = ramp(2, 3, 4, 5)
    for view in (array.transpose(0, 2, 1, 3), array[:, ::-1, ::2], np.asfortranarray(array)):
        np.testing.assert_array_equal(mps.Image(cpu, view).numpy(), view)


def test_an_array_is_taken_as_it_is_at_the_call(relu: mps.Graph) -> None:
    array = ramp(1, 2, 2, 1)
    commands = mps.CommandBuffer(relu.device.command_queue())
    outputs = relu.encode(commands, {"x": array})
    array[:] = -1
    commands.commit()
    np.testing.assert_array_equal(outputs[0], ramp(1, 2, 2, 1))


def test_wrap_shares_memory_and_keeps_the_array(cpu: mps.Device, relu: mps.Graph) -> None:
    array = ramp(1, 2, 3, 4)
    image = mps.Image.wrap(cpu, array)
    assert np.shares_memory(image.numpy(), array)
    array[:] = 7
    np.testing.assert_array_equal(run(relu, {"x": image})[0], array)
    alive = weakref.ref(array)
    del array
    gc.collect()
    assert alive() is not None
    assert np.all(image.numpy() == 7)
    del image
    gc.collect()
    # The graph's last encode may hold its sources until its work is forgotten.
    relu.device.synchronize()


def test_wrapped_memory_is_freed_with_the_image(cpu: mps.Device) -> None:
    array = ramp(1, 2, 3, 4)
    alive = weakref.ref(array)
    image = mps.Image.wrap(cpu, array)
    del array, image
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    "array",
    [
        ramp(2, 3, 4, 5)[:, ::2],
        np.asfortranarray(ramp(2, 3, 4, 5)),
    ],
    ids=["strided", "fortran"],
)
def test_wrap_refuses_what_cannot_be_shared(cpu: mps.Device, array: np.ndarray) -> None:
    with pytest.raises(mps.InvalidArgumentError, match="expected a writable array in C order"):
        mps.Image.wrap(cpu, array)
    fixed = ramp(1, 2, 3, 4)
    fixed.flags.writeable = False
    with pytest.raises(mps.InvalidArgumentError, match="writable"):
        mps.Image.wrap(cpu, fixed)


def test_numpy_shares_the_images_memory(cpu: mps.Device) -> None:
    image = mps.Image(cpu, ramp(1, 2, 3, 4))
    view = image.numpy()
    assert np.shares_memory(view, np.asarray(image))
    assert np.shares_memory(view, np.frombuffer(memoryview(image), np.float32))
    copy = image.read()
    view[:] = 5
    assert not np.shares_memory(copy, view)
    assert np.all(image.numpy() == 5)
    del image
    gc.collect()
    assert np.all(view == 5), "the array keeps the image's memory"


def test_array_protocol(cpu: mps.Device) -> None:
    image = mps.Image(cpu, ramp(1, 2, 3, 4))
    assert np.asarray(image, np.float64).dtype == np.float64
    copied = np.array(image)
    assert not np.shares_memory(copied, image.numpy())
    assert not np.shares_memory(image.__array__(copy=True), image.numpy())
    with pytest.raises(ValueError, match="without a copy"):
        image.__array__(np.dtype(np.float64), copy=False)
    view = memoryview(image)
    assert (view.format, view.shape, view.itemsize) == ("f", (1, 2, 3, 4), 4)


def test_write_replaces_the_values(cpu: mps.Device) -> None:
    image = mps.Image(cpu, size=(1, 2, 3, 4))
    image.write(ramp(2, 3, 4))
    np.testing.assert_array_equal(image.read()[0], ramp(2, 3, 4))
    with pytest.raises(
        mps.InvalidArgumentError, match=r"expected float32 \(1, 2, 3, 4\), got .*\(1, 2, 3, 5\)"
    ):
        image.write(ramp(2, 3, 5))


def test_dlpack_both_ways(cpu: mps.Device) -> None:
    image = mps.Image(cpu, ramp(1, 2, 3, 4))
    assert image.__dlpack_device__() == (1, 0)
    view = np.from_dlpack(image)
    assert np.shares_memory(view, image.numpy())
    array = ramp(1, 2, 3, 4)
    shared = mps.Image.from_dlpack(cpu, array)
    assert np.shares_memory(shared.numpy(), array)


def test_torch_tensors_through_dlpack(cpu: mps.Device) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
    image = mps.Image.from_dlpack(cpu, tensor)
    tensor += 1
    np.testing.assert_array_equal(image.numpy(), tensor.numpy())
    assert torch.from_dlpack(image).data_ptr() == tensor.data_ptr()
    np.testing.assert_array_equal(mps.Image(cpu, tensor).numpy(), tensor.numpy())


def test_memory_that_is_not_aligned_is_copied_and_not_shared(cpu: mps.Device) -> None:
    values = ramp(3, 4, 5)
    odd = np.ndarray(values.shape, np.float32, bytearray(b"x" + values.tobytes()), 1)
    for share in (mps.Image.wrap, mps.Image.from_dlpack, mps.NDArray.wrap, mps.NDArray.from_dlpack):
        with pytest.raises(mps.InvalidArgumentError, match="multiple of 4 bytes"):
            share(cpu, odd)
    np.testing.assert_array_equal(mps.Image(cpu, odd).numpy()[0], values)
    np.testing.assert_array_equal(mps.NDArray.from_array(cpu, odd).numpy(), values)


def test_jax_arrays_through_dlpack(cpu: mps.Device) -> None:
    jax = pytest.importorskip("jax")
    image = mps.Image(cpu, ramp(1, 2, 3, 4))
    there = jax.numpy.from_dlpack(image)
    assert there.unsafe_buffer_pointer() == image.numpy().ctypes.data
    # JAX's arrays never change, which an image's memory does: they are copied.
    constant = jax.numpy.asarray(ramp(1, 2, 3, 4))
    with pytest.raises(mps.InvalidArgumentError, match="writable"):
        mps.Image.from_dlpack(cpu, constant)
    np.testing.assert_array_equal(mps.Image(cpu, constant).numpy(), ramp(1, 2, 3, 4))


def test_mlx_arrays_through_dlpack(cpu: mps.Device) -> None:
    mlx = pytest.importorskip("mlx.core", exc_type=ImportError)
    array = mlx.array(ramp(1, 2, 3, 4))
    mlx.eval(array)
    image = mps.Image.from_dlpack(cpu, array)
    assert np.shares_memory(image.numpy(), np.asarray(memoryview(array)))
    np.testing.assert_array_equal(image.numpy(), ramp(1, 2, 3, 4))


def test_cupy_arrays_are_another_devices(cpu: mps.Device) -> None:
    cupy = pytest.importorskip("cupy")
    try:
        array = cupy.zeros((1, 2, 3, 4), cupy.float32)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device here: {error}")
    with pytest.raises(mps.Error, match="from_dlpack"):
        mps.Image.from_dlpack(cpu, array)


def test_what_is_no_array_through_dlpack(cpu: mps.Device) -> None:
    for class_ in (mps.Image, mps.Matrix, mps.Vector, mps.NDArray):
        with pytest.raises(
            mps.ArgumentTypeError, match="array: expected an object with __dlpack__, got int"
        ):
            class_.from_dlpack(cpu, 3)
    torch = pytest.importorskip("torch")
    with pytest.raises(
        mps.InvalidArgumentError, match="from_dlpack: array: expected one whose memory"
    ):
        mps.Image.from_dlpack(cpu, torch.zeros(1, 2, 2, 2, requires_grad=True))
    with pytest.raises(mps.InvalidArgumentError, match=r"from_dlpack: array: .*dtype"):
        mps.Image.from_dlpack(cpu, torch.zeros(1, 2, 2, 2, dtype=torch.bfloat16))


def test_sources_as_list_by_node_and_as_images(cpu: mps.Device) -> None:
    first, second = mps.ImageNode("first"), mps.ImageNode("second")
    graph = mps.Graph(cpu, [mps.AdditionNode(first, second, secondary_scale=10).result_image])
    assert graph.source_handles == ["first", "second"]
    one, two = ramp(1, 1, 2, 1), ramp(1, 1, 2, 1) + 1
    expected = one + 10 * two
    for sources in (
        [one, two],
        (one, mps.Image(cpu, two)),
        {first: one, second: two},
        {"second": two, first: one},
    ):
        np.testing.assert_array_equal(run(graph, sources)[0], expected)


def test_outputs_are_a_sequence_and_a_mapping(cpu: mps.Device) -> None:
    image = mps.ImageNode("x")
    inner = mps.NeuronReLUNode(image)
    inner.result_image.handle = "inner"
    inner.result_image.export_from_graph = True
    last = mps.AdditionNode(inner, image)
    last.result_image.handle = "last"
    graph = mps.Graph(cpu, [last.result_image])
    assert graph.intermediate_handles == ["inner"]
    outputs = run(graph, {"x": -ramp(1, 1, 3, 1)})
    assert len(outputs) == len(list(outputs)) == len(outputs.results) == 1
    assert set(outputs.by_handle) == {"inner", "last"}
    assert "inner" in outputs
    assert "nothing" not in outputs
    np.testing.assert_array_equal(outputs["inner"], 0 * ramp(1, 1, 3, 1))
    for result in (
        outputs[0],
        outputs[-1],
        outputs["last"],
        outputs[last],
        outputs[last.result_image],
    ):
        np.testing.assert_array_equal(result, -ramp(1, 1, 3, 1))
    with pytest.raises(IndexError, match="expected an index below 1, got 1"):
        outputs[1]
    with pytest.raises(mps.InvalidArgumentError, match="nothing"):
        outputs["nothing"]


def test_weights_as_arrays(cpu: mps.Device) -> None:
    weights, bias = ramp(2, 1, 3, 4), ramp(2)
    source = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 1, 4, 2), weights, bias, "c")
    weights[:] = 0
    np.testing.assert_array_equal(source.weights, ramp(2, 1, 3, 4))
    np.testing.assert_array_equal(source.bias_terms, ramp(2))
    assert source.parameters == {"weights": (2, 1, 3, 4), "bias": (2,)}
    assert source.descriptor.weight_shape == (2, 1, 3, 4)
    cpu.write_parameter(source, "weights", ramp(2, 1, 3, 4) + 1)
    np.testing.assert_array_equal(cpu.read_parameter(source, "weights"), ramp(2, 1, 3, 4) + 1)
    np.testing.assert_array_equal(source.weights, ramp(2, 1, 3, 4))
    source.set_initial("bias", [5.0, 6.0])
    np.testing.assert_array_equal(source.bias_terms, [5, 6])
    plain = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(1, 1, 1, 1), [[[[2.0]]]])
    assert plain.bias_terms is None
    assert not plain.has_bias


def test_written_weights_are_used_by_the_next_encode(cpu: mps.Device) -> None:
    source = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(1, 1, 1, 1), [[[[2.0]]]])
    graph = mps.Graph(cpu, [mps.ConvolutionNode(mps.ImageNode("x"), source).result_image])
    one = np.ones((1, 1, 1, 1), np.float32)
    assert np.asarray(run(graph, {"x": one})[0]).item() == 2
    cpu.write_parameter(source, "weights", np.full((1, 1, 1, 1), 3, np.float32))
    assert np.asarray(run(graph, {"x": one})[0]).item() == 3


def test_memory_is_counted_and_given_back(cpu: mps.Device) -> None:
    before = cpu.memory_stats().current
    image = mps.Image(cpu, size=(1, 64, 64, 16))
    during = cpu.memory_stats()
    assert during.current - before >= image.bytes
    assert during.peak >= during.current
    del image
    gc.collect()
    assert cpu.memory_stats().current == before
    cpu.trim()
    assert cpu.memory_stats().cached == 0
