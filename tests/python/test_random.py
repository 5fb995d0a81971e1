# SPDX-License-Identifier: MIT
"""Random numbers: the words, the distributions made of them, state, predicates, bad input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases.matrix_random import BOUNDS, KERNEL_CASES, RandomCase
from numpy.typing import NDArray
from oracles import random_words as oracle

import mpsnn as mps
from mpsnn.kernels import MatrixRandomMTGP32, MatrixRandomPhilox

Kernel = MatrixRandomPhilox | MatrixRandomMTGP32
KernelClass = type[MatrixRandomPhilox] | type[MatrixRandomMTGP32]
KERNELS: list[KernelClass] = [MatrixRandomPhilox, MatrixRandomMTGP32]
Array = NDArray[Any]
Distribution = mps.MatrixRandomDistributionDescriptor
DATA = Path(__file__).resolve().parent.parent / "data"
NUMPY = {mps.DataType.UINT32: "uint32", mps.DataType.FLOAT32: "float32"}
NUMPY[mps.DataType.FLOAT16] = "float16"


def words_of(kernel: str, seed: int, first: int, count: int) -> Array:
    """Words of a sequence by the oracle; of MTGP32 below the second stream's end only."""
    if kernel == "MatrixRandomPhilox":
        return oracle.philox_words(seed, first, count)
    blocks = [
        oracle.mtgp_words(seed, stream, oracle.STEP)
        for stream in range((first + count - 1) // oracle.STEP + 1)
    ]
    return np.concatenate(blocks)[first : first + count]


def run(device: mps.Device, kernel: Kernel, *destinations: mps.Matrix | mps.Vector) -> None:
    commands = mps.CommandBuffer(device.command_queue())
    for destination in destinations:
        kernel.encode(commands, destination)
    commands.commit()
    commands.wait_until_completed()


def fill(device: mps.Device, kernel: Kernel, count: int, data_type: mps.DataType) -> Array:
    vector = mps.Vector(device, length=count, data_type=data_type)
    run(device, kernel, vector)
    return np.array(vector)


def make(device: mps.Device, name: str, attributes: Mapping[str, Any]) -> Kernel:
    """A kernel by the arguments of its class."""
    given = dict(attributes)
    fields = ("distribution_type", "minimum", "maximum", "mean", "standard_deviation")
    descriptor = {field: given.pop(field) for field in fields if field in given}
    distribution = Distribution(**descriptor) if descriptor else None
    kernel: Kernel = getattr(mps, name)(device, distribution_descriptor=distribution, **given)
    return kernel


def below(maximum: float, attributes: Mapping[str, Any], values: Array) -> Array:
    """Numbers that would be rounded to the maximum are the largest one below it."""
    dtype = np.dtype(NUMPY[attributes["data_type"]]).type
    return np.minimum(values, float(np.nextafter(dtype(maximum), dtype(-math.inf))))


def expected_of(case: RandomCase, words: Array) -> Array:
    a = case.attributes
    if a.get("data_type", mps.DataType.UINT32) is mps.DataType.UINT32:
        return words.astype(np.uint32)
    kind = a.get("distribution_type", mps.MatrixRandomDistribution.DEFAULT)
    if kind is mps.MatrixRandomDistribution.DEFAULT:
        return below(1, a, oracle.uniform(words, 0, 1))
    if kind is mps.MatrixRandomDistribution.UNIFORM:
        return below(a["maximum"], a, oracle.uniform(words, a["minimum"], a["maximum"]))
    if math.isinf(a["minimum"]) and math.isinf(a["maximum"]):
        return oracle.normal(words, a["mean"], a["standard_deviation"])
    bounds = (a["minimum"], a["maximum"])
    return oracle.truncated_normal(words, a["mean"], a["standard_deviation"], *bounds)


@pytest.mark.parametrize("case", KERNEL_CASES, ids=lambda case: case.id)
def test_case(device: mps.Device, case: RandomCase) -> None:
    data_type = case.attributes.get("data_type", mps.DataType.UINT32)
    dtype = np.dtype(NUMPY[data_type])
    step = case.shape[-1] + case.gap
    size = case.offset + math.prod(case.shape[:-1]) * step + 7
    raw = np.frombuffer(np.random.default_rng(0).bytes(size * dtype.itemsize), np.uint8)
    buffer = mps.Buffer(device, raw)
    strided = {"offset": case.offset * dtype.itemsize, "data_type": data_type}
    row = step * dtype.itemsize
    destination: mps.Matrix | mps.Vector
    if len(case.shape) == 2:
        destination = mps.Vector(
            buffer, vectors=case.shape[0], length=case.shape[1], vector_bytes=row, **strided
        )
    else:
        matrices, rows, columns = case.shape
        destination = mps.Matrix(
            buffer, matrices=matrices, rows=rows, columns=columns, row_bytes=row, **strided
        )
    run(device, make(device, case.kernel, case.attributes), destination)
    result = np.frombuffer(buffer.read(), dtype)
    start = case.attributes.get("batch_start", 0)
    batch = case.attributes.get("batch_size", case.shape[0] - start)
    taken = np.zeros((*case.shape[:-1], step), bool)
    taken[start : start + batch, ..., : case.shape[-1]] = True
    mask = np.zeros(size, bool)
    mask[case.offset : case.offset + taken.size] = taken.ravel()
    untouched = np.repeat(~mask, dtype.itemsize)
    assert np.array_equal(result.view(np.uint8)[untouched], raw[untouched])
    words = words_of(case.kernel, case.attributes.get("seed", 0), 0, int(mask.sum()))
    numbers, expected = result[mask], expected_of(case, words)
    if dtype.kind == "u":
        assert np.array_equal(numbers, expected)
        return
    assert np.isfinite(numbers).all()
    unit = np.spacing(np.maximum(np.abs(expected), 1).astype(dtype)).astype(float)
    assert np.all(np.abs(numbers.astype(float) - expected) <= 1.01 * unit / 2 + 9e-6)


def test_known_answers_of_philox(device: mps.Device) -> None:
    for line in (DATA / "philox4x32_10.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        numbers = [int(word, 16) for word in line.split()]
        counter, key, words = numbers[:4], numbers[4:6], numbers[6:]
        if counter[0] or counter[1]:
            continue  # no stream of this kernel; the C++ tests have all
        seed = key[0] | key[1] << 32
        kernel = mps.MatrixRandomPhilox(device, seed=seed)
        block = counter[2] << 32 | counter[3]
        kernel.write_state(np.array([seed, 4 * block], np.uint64).tobytes())
        assert fill(device, kernel, 4, mps.DataType.UINT32).tolist() == words


def test_uniform_numbers_have_the_bits_that_apple_has(device: mps.Device) -> None:
    for bounds, bits in (
        ((0, 1), "3ecc4fd0 3f6169c4 3f3c57ac 3f1b00da 3e3739c8 3d9a4710 3f7cf8e0 3f2287aa"),
        ((-2, 3), "bb9c3c00 4019c435 3fd6db2e 3f838221 bf8d7be3 bfcfc9cb 403c3718 3f965329"),
    ):
        kernel = mps.MatrixRandomPhilox(
            device,
            data_type=mps.DataType.FLOAT32,
            distribution_descriptor=Distribution.uniform(*bounds),
        )
        numbers = fill(device, kernel, 8, mps.DataType.FLOAT32)
        assert [f"{word:08x}" for word in numbers.view(np.uint32)] == bits.split()


def test_philox_beyond_two_to_the_32_blocks(device: mps.Device) -> None:
    kernel = mps.MatrixRandomPhilox(device, seed=9)
    first = 2**34 - 7
    kernel.write_state(np.array([9, first], np.uint64).tobytes())
    numbers = fill(device, kernel, 3000, mps.DataType.UINT32)
    assert np.array_equal(numbers, oracle.philox_words(9, first, 3000))


def test_authors_words_of_mtgp32() -> None:
    """The oracle is held by the authors' program, the kernel by the oracle."""
    parameters = oracle.mtgp_parameters()
    assert len(parameters) == oracle.SETS
    for line in (DATA / "mtgp32_11213.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        number, *words = line.split()
        row = parameters[int(number)]
        stream = oracle.mtgp_stream(row, oracle.init_by_array(row, [1, 2, 3, 4]), len(words))
        assert [f"{word:08x}" for word in stream] == words


def test_streams_of_mtgp32(device: mps.Device) -> None:
    """Three rounds and a bit, by streams from all over."""
    seed, rounds = 2**40 + 77, 9
    count = oracle.STREAMS * oracle.STEP * rounds + 1000
    numbers = fill(device, mps.MatrixRandomMTGP32(device, seed=seed), count, mps.DataType.UINT32)
    blocks = numbers[: count - 1000].reshape(rounds, oracle.STREAMS, oracle.STEP)
    for stream in (0, 1, 127, 128, 511, 1023):
        expected = oracle.mtgp_words(seed, stream, rounds * oracle.STEP)
        assert np.array_equal(blocks[:, stream].ravel(), expected)
    for k in range(4):
        words = oracle.mtgp_words(seed, k, (rounds + 1) * oracle.STEP)[rounds * oracle.STEP :]
        rest = numbers[count - 1000 :][k * oracle.STEP : (k + 1) * oracle.STEP]
        assert np.array_equal(rest, words[: len(rest)])


@pytest.mark.parametrize("cls", KERNELS)
def test_encodes_go_on_where_the_last_one_ended(device: mps.Device, cls: KernelClass) -> None:
    parts = [1, 2, 3, 255, 256, 257, 1000, 4096, 300_000, 5]
    kernel = cls(device, seed=12)
    vectors = [mps.Vector(device, length=n, data_type=mps.DataType.UINT32) for n in parts]
    run(device, kernel, *vectors)
    whole = fill(device, cls(device, seed=12), sum(parts), mps.DataType.UINT32)
    assert np.array_equal(np.concatenate([np.asarray(one) for one in vectors]), whole)


@pytest.mark.parametrize("cls", KERNELS)
def test_large_fills_are_the_small_ones(device: mps.Device, cls: KernelClass) -> None:
    """Stores that pass the caches by, at an address that is no multiple of anything."""
    count = 3_000_001
    buffer = mps.Buffer(device, np.full(count + 8, 0xABABABAB, np.uint32))
    view = mps.Vector(buffer, length=count, offset=12, data_type=mps.DataType.UINT32)
    kernel = cls(device, seed=5)
    fill(device, kernel, 3, mps.DataType.UINT32)
    run(device, kernel, view)
    numbers = np.frombuffer(buffer.read(), np.uint32)
    assert np.all(numbers[[0, 1, 2, -5, -4, -3, -2, -1]] == 0xABABABAB)
    other, strided = (
        cls(device, seed=5),
        mps.Matrix(device, rows=2900, columns=1001, row_bytes=4008, data_type=mps.DataType.UINT32),
    )
    fill(device, other, 3, mps.DataType.UINT32)
    run(device, other, strided)
    assert np.array_equal(numbers[3 : 3 + 2900 * 1001], np.asarray(strided).ravel())


@pytest.mark.parametrize("cls", KERNELS)
def test_skipped_encodes_take_no_numbers(device: mps.Device, cls: KernelClass) -> None:
    flags = mps.Buffer(device, np.array([0, 1], np.int32))
    first, second = (mps.Vector(device, length=9, data_type=mps.DataType.UINT32) for _ in range(2))
    kernel = cls(device, seed=3)
    commands = mps.CommandBuffer(device.command_queue())
    commands.predicate = mps.Predicate(flags, 0)
    kernel.encode(commands, first)
    commands.predicate = mps.Predicate(flags, 4)
    kernel.encode(commands, second)
    commands.commit()
    commands.wait_until_completed()
    assert not np.asarray(first).any()
    assert np.array_equal(
        np.asarray(second), fill(device, cls(device, seed=3), 9, second.data_type)
    )


@pytest.mark.parametrize("cls", KERNELS)
def test_state_is_read_written_and_archived(
    device: mps.Device, cls: KernelClass, tmp_path: Path
) -> None:
    kernel = cls(device, seed=2**64 - 3, label="noise", data_type=mps.DataType.FLOAT32)
    fill(device, kernel, 1001, kernel.data_type)
    state = kernel.read_state()
    archiver = mps.KeyedArchiver()
    archiver.encode("generator", kernel)
    archiver.write(str(tmp_path / "archive"))
    expected = fill(device, kernel, 500, kernel.data_type)
    other = cls(device, data_type=mps.DataType.FLOAT32)
    other.write_state(state)
    assert np.array_equal(fill(device, other, 500, kernel.data_type), expected)
    archive = mps.KeyedUnarchiver(device).open(str(tmp_path / "archive"))
    assert archive.kernel_keys() == ["generator"]
    assert archive.keys() == []
    restored = archive.decode_kernel("generator")
    assert type(restored) is cls
    assert (restored.label, restored.seed) == ("noise", 2**64 - 3)
    assert np.array_equal(fill(device, restored, 500, kernel.data_type), expected)


def test_a_state_that_another_device_moved_is_caught_up_with(cpu: mps.Device) -> None:
    """Metal moves the position of an MTGP32, and leaves the streams where they begin."""
    whole = fill(cpu, mps.MatrixRandomMTGP32(cpu, seed=6), 1_000_000, mps.DataType.UINT32)
    for position in [255, 256, 300_000, 262_144 * 3 + 70_000]:
        kernel = mps.MatrixRandomMTGP32(cpu, seed=6)
        streams = kernel.read_state()[8:]
        kernel.write_state(position.to_bytes(8, "little") + streams)
        for at in (position, position + 1000):
            got = fill(cpu, kernel, 1000, mps.DataType.UINT32)
            np.testing.assert_array_equal(got, whole[at : at + 1000], err_msg=str(at))
    kernel = mps.MatrixRandomMTGP32(cpu, seed=6, label="far")
    kernel.write_state((2**36 + 1).to_bytes(8, "little") + kernel.read_state()[8:])
    commands = mps.CommandBuffer(cpu.command_queue())
    kernel.encode(commands, mps.Vector(cpu, length=4, data_type=mps.DataType.UINT32))
    commands.commit()
    with pytest.raises(mps.DeviceError, match='"far": state of another device: expected at most'):
        commands.wait_until_completed()


def test_archives_of_kernels_refuse(device: mps.Device, tmp_path: Path) -> None:
    archiver = mps.KeyedArchiver()
    kernel = mps.MatrixSoftMax(device, source_rows=3)
    archiver.encode("a", kernel)
    with pytest.raises(mps.InvalidArgumentError, match='a new one, got "a" again'):
        archiver.encode("a", kernel)
    archiver.write(str(tmp_path / "archive"))
    archive = mps.KeyedUnarchiver(device).open(str(tmp_path / "archive"))
    assert archive.decode_kernel("a").attributes == kernel.attributes
    with pytest.raises(mps.InvalidArgumentError, match='one of "a", got "b"'):
        archive.decode_kernel("b")


@pytest.mark.parametrize("cls", KERNELS)
@pytest.mark.parametrize(("data_type", "minimum", "maximum"), BOUNDS)
def test_uniform_numbers_lie_inside(
    device: mps.Device, cls: KernelClass, data_type: mps.DataType, minimum: float, maximum: float
) -> None:
    kernel = cls(
        device,
        data_type=data_type,
        seed=31,
        distribution_descriptor=Distribution.uniform(minimum, maximum),
    )
    numbers = fill(device, kernel, 100_000, data_type).astype(np.float64)
    low, high = np.float32(minimum).astype(float), np.float32(maximum).astype(float)
    assert np.isfinite(numbers).all()
    assert low <= numbers.min()
    assert numbers.max() < high


def test_normal_numbers_at_the_ends(device: mps.Device) -> None:
    """Every word that differs in its 23 upper bits is too many: the blocks around t = 0 and 1."""
    kernel = mps.MatrixRandomPhilox(
        device,
        data_type=mps.DataType.FLOAT32,
        seed=1,
        distribution_descriptor=Distribution.normal(0.0, 1.0),
    )
    count = 1 << 24
    numbers = fill(device, kernel, count, mps.DataType.FLOAT32)
    steps = oracle.philox_words(1, 0, count) >> np.uint64(9)
    assert (steps == 0).any()
    assert np.isfinite(numbers).all()
    assert np.allclose(numbers[steps == 0], -5.2947, atol=1e-3)
    order = np.argsort(steps)
    assert np.all(np.diff(numbers[order]) >= 0)
    assert np.max(np.abs(numbers - oracle.normal(steps << np.uint64(9), 0, 1))) < 2e-6


@pytest.mark.parametrize("data_type", [mps.DataType.FLOAT32, mps.DataType.FLOAT16])
def test_normal_numbers_that_overflow_are_the_largest(
    device: mps.Device, data_type: mps.DataType
) -> None:
    kernel = mps.MatrixRandomPhilox(
        device,
        data_type=data_type,
        distribution_descriptor=Distribution.normal(-3e38, 3e38),
    )
    numbers = fill(device, kernel, 1000, data_type)
    assert np.isfinite(numbers).all()
    assert numbers.min() == np.finfo(numbers.dtype).min


@pytest.mark.parametrize(
    ("mean", "deviation", "minimum", "maximum"),
    [(0, 1, 38, 39), (0, 1, -1e30, -40), (5, 0, 5, 6), (0, 1e-30, 1, 2), (1, 0.5, 0.9999999, 1)],
)
def test_truncated_numbers_lie_inside(
    device: mps.Device, mean: float, deviation: float, minimum: float, maximum: float
) -> None:
    for data_type in (mps.DataType.FLOAT32, mps.DataType.FLOAT16):
        kernel = mps.MatrixRandomPhilox(
            device,
            data_type=data_type,
            distribution_descriptor=Distribution.truncated_normal(
                mean, deviation, minimum, maximum
            ),
        )
        numbers = fill(device, kernel, 5000, data_type).astype(float)
        assert np.all((numbers >= np.float32(minimum)) & (numbers <= np.float32(maximum)))


def test_descriptors_have_the_contents_of_apple() -> None:
    uniform = Distribution.uniform(-2, 3)
    assert uniform.mean == 0.5
    assert np.float32(uniform.standard_deviation) == np.float32(1.44337571)
    normal = Distribution.normal(1, 2)
    assert (normal.minimum, normal.maximum) == (-math.inf, math.inf)
    default = Distribution.default_distribution()
    assert default == Distribution()
    assert (default.minimum, default.maximum, default.mean, default.standard_deviation) == (0,) * 4
    assert [int(one) for one in mps.MatrixRandomDistribution] == [1, 2, 3]


def test_descriptor_of_a_kernel(device: mps.Device) -> None:
    given = Distribution.truncated_normal(1, 2, 0, 4)
    kernel = mps.MatrixRandomMTGP32(
        device, data_type=mps.DataType.FLOAT16, distribution_descriptor=given
    )
    assert kernel.distribution_descriptor == given
    assert kernel.data_type is mps.DataType.FLOAT16
    assert mps.MatrixRandomPhilox(device).distribution_descriptor == Distribution()


FLOAT32 = {"data_type": mps.DataType.FLOAT32}
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("attributes", "error", "text"),
    [
        ({"seed": -1}, ValueError, "seed: expected"),
        ({"seed": -(2**70)}, ValueError, "seed: expected an integer of 64 bits"),
        ({"seed": 2**64}, ValueError, "seed: expected an integer of 64 bits"),
        ({"data_type": mps.DataType.INT32}, mps.UnsupportedError, "data_type: expected"),
        ({"batch_start": -1}, ValueError, "batch_start: expected"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1"),
        (
            {"distribution_descriptor": Distribution.uniform(0, 1)},
            ValueError,
            "DEFAULT, as data_ty",
        ),
        (
            {"distribution_descriptor": Distribution.uniform(1, 1), **FLOAT32},
            ValueError,
            "maximum:",
        ),
        (
            {"distribution_descriptor": Distribution.uniform(2, 1), **FLOAT32},
            ValueError,
            "maximum:",
        ),
        (
            {"distribution_descriptor": Distribution.uniform(0, INF), **FLOAT32},
            ValueError,
            "finite",
        ),
        (
            {"distribution_descriptor": Distribution.uniform(NAN, 1), **FLOAT32},
            ValueError,
            "minimum",
        ),
        (
            {"distribution_descriptor": Distribution.uniform(0, 1e39), **FLOAT32},
            ValueError,
            "finite",
        ),
        (
            {
                "distribution_descriptor": Distribution.uniform(1.0001, 1.0002),
                "data_type": mps.DataType.FLOAT16,
            },
            ValueError,
            "maximum: expected a float16",
        ),
        ({"distribution_descriptor": Distribution.normal(INF, 1), **FLOAT32}, ValueError, "mean:"),
        (
            {"distribution_descriptor": Distribution.normal(0, -1), **FLOAT32},
            ValueError,
            "standard_deviation: expected >= 0, got -1",
        ),
        (
            {"distribution_descriptor": Distribution.normal(0, NAN), **FLOAT32},
            ValueError,
            "standard_deviation",
        ),
        (
            {"distribution_descriptor": Distribution.truncated_normal(0, 1, 3, 2), **FLOAT32},
            ValueError,
            "maximum: expected above minimum 3",
        ),
        (
            {"distribution_descriptor": Distribution.truncated_normal(9, 0, 1, 2), **FLOAT32},
            ValueError,
            "mean: expected from 1 to 2",
        ),
    ],
)
@pytest.mark.parametrize("cls", KERNELS)
def test_bad_arguments(
    device: mps.Device,
    cls: KernelClass,
    attributes: Mapping[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=f"^{cls.__name__}: .*{text}"):
        cls(device, **attributes)


def test_bad_destinations(device: mps.Device) -> None:
    commands = mps.CommandBuffer(device.command_queue())
    kernel = mps.MatrixRandomPhilox(device, batch_start=1, label="noise")
    vector = mps.Vector(device, length=3)
    with pytest.raises(TypeError, match='"noise": destination: expected uint32, got float32'):
        kernel.encode(commands, vector)
    one = mps.Matrix(device, rows=2, columns=2, data_type=mps.DataType.UINT32)
    with pytest.raises(ValueError, match=r'"noise": destination: expected matrices 1 \+ all'):
        kernel.encode(commands, one)
    array = mps.NDArray(device, shape=[4], data_type=mps.DataType.UINT32)
    with pytest.raises(TypeError, match="destination: expected Matrix or Vector, got NDArray"):
        kernel.encode_method(commands, "encode", [[array]])
    with pytest.raises(ValueError, match="seed: expected to be set at construction"):
        kernel.seed = 4


def test_seed_in_python(device: mps.Device) -> None:
    assert mps.MatrixRandomPhilox(device, seed=np.uint64(2**64 - 1)).seed == 2**64 - 1
    assert mps.MatrixRandomPhilox(device).seed == 0
