# SPDX-License-Identifier: MIT
# ruff: noqa: ANN401 (kernels of all kinds pass through)
"""Every class of kernels comes back from an archive and goes on with the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import image_kernels, matrix_random
from cases.image_kernels import ImageCase
from cases.matrix_kernels import KernelCase
from cases.matrix_random import RandomCase
from kernel_memory import Memory
from test_matrix_kernels import KERNEL_CASES, kind_of, operand_specs, random_values

import mpsnn as mps
from mpsnn import _core

AnyCase = KernelCase | ImageCase | RandomCase
# Classes with an encode that no archive takes, with the reason; the others that are no kernels.
REFUSED = {
    "HostKernel": "a function of the program, and archives hold no code",
    "KernelSequence": "bound to the program's memory; its kernels are archived one by one",
}
NO_KERNELS = {
    "Coder": "what objects of one's own store themselves in",
    "CommandBuffer": "where all is recorded",
    "KeyedArchiver": "the archive",
    "OptimizerAdam": "archived with the data sources that it trains",
    "OptimizerRMSProp": "as OptimizerAdam",
    "OptimizerStochasticGradientDescent": "as OptimizerAdam",
    "SecureCoding": "what objects of one's own derive from",
}
# tests/python/test_archive_layers.py has their round trips.
LAYERS = {"RNNMatrixInferenceLayer", "RNNImageInferenceLayer", "RNNMatrixTrainingLayer"}


def classes_with_an_encode() -> set[str]:
    return {
        name
        for name, cls in vars(mps).items()
        if isinstance(cls, type) and any(member.startswith("encode") for member in dir(cls))
    }


def first_cases() -> list[AnyCase]:
    """A case of each method of each class of kernels."""
    found: dict[tuple[str, str], AnyCase] = {}
    cases: list[AnyCase] = [
        *KERNEL_CASES,
        *image_kernels.KERNEL_CASES,
        *matrix_random.KERNEL_CASES,
    ]
    for case in cases:
        found.setdefault((case.kernel, case.method), case)
    return list(found.values())


def make_kernel(device: mps.Device, case: AnyCase) -> Any:
    given = dict(case.attributes)
    fields = ("distribution_type", "minimum", "maximum", "mean", "standard_deviation")
    distribution = {name: given.pop(name) for name in fields if name in given}
    if distribution:
        given["distribution_descriptor"] = mps.MatrixRandomDistributionDescriptor(**distribution)
    return getattr(mps, case.kernel)(device, **given, label=f"the {case.kernel}")


def operands_of(device: mps.Device, case: AnyCase) -> list[Any]:
    """Memory of each operand, lists for lists, None for what is left out."""
    if isinstance(case, RandomCase):
        dtype = case.attributes.get("data_type", mps.DataType.UINT32).name.lower()
        kind = ("Vector", "Matrix")[len(case.shape) - 2]
        return [Memory(device, kind, np.zeros(case.shape, dtype))]
    if isinstance(case, ImageCase):
        random = np.random.default_rng(len(case.id))
        made = [
            Memory(
                device,
                "Matrix" if len(size) == 3 else "Image",
                random.integers(-4, 5, size).astype(np.float32),
            )
            for size in (*case.sources, case.destination)
        ]
        return [made[:-1], made[-1]] if case.kernel == "ChannelConcatenation" else made

    def memory(i: int, shape: tuple[int, ...], spec: dict[str, Any]) -> Memory:
        return Memory(device, kind_of(spec), random_values(case, i, shape, spec["name"]))

    return [
        [memory(i, part, spec) for part in shape]
        if isinstance(shape, list)
        else shape and memory(i, shape, spec)
        for i, (shape, spec) in enumerate(zip(case.shapes, operand_specs(case), strict=True))
    ]


def each_memory(operands: list[Any]) -> Iterator[Memory]:
    for operand in operands:
        yield from operand if isinstance(operand, list) else [operand] if operand else []


def run(kernel: Any, case: AnyCase, times: int = 1) -> list[bytes]:
    """The bytes of all operands after the kernel ran."""
    operands = operands_of(kernel.device, case)
    given = [
        [one.operand for one in operand]
        if isinstance(operand, list)
        else operand and operand.operand
        for operand in operands
    ]
    commands = mps.CommandBuffer(kernel.device.command_queue())
    for _ in range(times):
        getattr(kernel, case.method)(commands, *given)
    commands.commit()
    commands.wait_until_completed()
    return [np.asarray(memory.view).tobytes() for memory in each_memory(operands)]


def restored(kernel: Any, device: mps.Device, path: Path) -> Any:
    archiver = mps.KeyedArchiver()
    archiver.encode("kernel", kernel)
    archiver.write(path)
    return mps.KeyedUnarchiver(device).open(path).decode_kernel("kernel")


def test_no_class_is_forgotten() -> None:
    """A new class with an encode must be archived, or stand above with a reason."""
    table = {row["name"] for row in _core.kernel_table()}
    assert {case.kernel for case in first_cases()} == table
    known = table | LAYERS | REFUSED.keys() | NO_KERNELS.keys() | {"Graph", "DeviceKernel"}
    assert classes_with_an_encode() == known


def test_what_is_refused_is_told() -> None:
    archiver = mps.KeyedArchiver()
    made = [mps.HostKernel(lambda _reads, _writes: None), mps.KernelSequence(mps.Device("null"))]
    assert [type(one).__name__ for one in made] == list(REFUSED)
    for one in made:
        with pytest.raises(mps.ArgumentTypeError, match=f"an RNNLayer.*got {type(one).__name__}"):
            archiver.encode("one", one)  # type: ignore[call-overload]


@pytest.mark.parametrize("case", first_cases(), ids=lambda case: f"{case.kernel}.{case.method}")
def test_every_class_comes_back(device: mps.Device, case: AnyCase, tmp_path: Path) -> None:
    kernel = make_kernel(device, case)
    run(kernel, case)  # a state is away from its start
    back = restored(kernel, device, tmp_path / "kernel")
    assert type(back) is type(kernel)
    assert (back.label, back.device) == (kernel.label, device)
    assert back.attributes == kernel.attributes
    assert back.state_bytes == kernel.state_bytes
    if kernel.state_bytes:
        assert back.read_state() == kernel.read_state()
    for _ in range(2):
        assert run(back, case) == run(kernel, case)
