# SPDX-License-Identifier: MIT
"""Encodes every case of a kernel on every device, for the page of what runs where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import array_kernels, image_kernels, matrix_kernels, matrix_random
from cases.image_kernels import ImageCase
from cases.matrix_kernels import KernelCase
from cases.matrix_random import RandomCase
from device_kinds import host_kinds

import mpsnn as mps
from mpsnn import _core

TABLE = {row["name"]: row for row in _core.kernel_table()}
# (element type, whether the device has kernels for all cases of it) by class.
Types = dict[str, dict[str, bool]]


def _memory(device: mps.Device, kinds: list[str], shape: tuple[int, ...], dtype: str) -> object:
    kind = kinds[0]
    if len(kinds) > 1:
        kind = ("Vector", "Matrix", "NDArray", "Image")[len(shape) - 1]
    zeros = np.zeros(shape, dtype)
    if kind == "Image":
        return mps.Image(device, zeros)
    classes: dict[str, Any] = {"Matrix": mps.Matrix, "Vector": mps.Vector, "NDArray": mps.NDArray}
    return classes[kind].from_array(device, zeros)


def _encode_matrices(device: mps.Device, case: KernelCase) -> str:
    """Encodes the case; the element type that counts: the first operand's."""
    methods = {method["name"]: method for method in TABLE[case.kernel]["methods"]}
    operands: list[object] = []
    for i, (shape, spec) in enumerate(
        zip(case.shapes, methods[case.method]["operands"], strict=True)
    ):
        kinds = list(spec["kinds"])
        if isinstance(shape, list):
            operands.append([_memory(device, kinds, part, case.dtype(i)) for part in shape])
        else:
            own = None if shape is None else _memory(device, kinds, shape, case.dtype(i))
            operands.append(own)
    kernel: Any = getattr(mps, case.kernel)(device, **case.attributes)
    getattr(kernel, case.method)(mps.CommandBuffer(device.command_queue()), *operands)
    return case.dtype(0)


def _encode_images(device: mps.Device, case: ImageCase, dtype: str) -> None:
    def made(size: tuple[int, ...]) -> object:
        zeros = np.zeros(size, dtype)
        return mps.Matrix.from_array(device, zeros) if len(size) == 3 else mps.Image(device, zeros)

    kernel: Any = getattr(mps, case.kernel)(device, **case.attributes)
    commands = mps.CommandBuffer(device.command_queue())
    sources, destination = [made(size) for size in case.sources], made(case.destination)
    if case.kernel == "ChannelConcatenation":
        kernel.encode(commands, sources, destination)
    else:
        kernel.encode(commands, *sources, destination)


def _encode_random(device: mps.Device, case: RandomCase, data_type: mps.DataType) -> None:
    kind = ("Vector", "Matrix")[len(case.shape) - 2]
    destination = _memory(device, [kind], case.shape, data_type.name.lower())
    fields = ("distribution_type", "minimum", "maximum", "mean", "standard_deviation")
    given = dict(case.attributes)
    descriptor = {name: given.pop(name) for name in fields if name in given}
    if descriptor:
        given["distribution_descriptor"] = mps.MatrixRandomDistributionDescriptor(**descriptor)
    kernel: Any = getattr(mps, case.kernel)(device, **given)
    kernel.encode(mps.CommandBuffer(device.command_queue()), destination)


def _on(device: mps.Device) -> Types:
    found: Types = defaultdict(dict)

    def note(name: str, dtype: str, encode: Callable[[], object]) -> None:
        try:
            encode()
        except mps.UnsupportedError:
            found[name][dtype] = False
        else:
            found[name].setdefault(dtype, True)

    tables = (matrix_kernels, array_kernels)
    for case in [case for table in tables for case in table.KERNEL_CASES]:
        note(case.kernel, case.dtype(0), lambda case=case: _encode_matrices(device, case))
    for image_case in image_kernels.KERNEL_CASES:
        for dtype in ("float32", "float16"):
            note(
                image_case.kernel,
                dtype,
                lambda case=image_case, dtype=dtype: _encode_images(device, case, dtype),
            )
    for random_case in matrix_random.KERNEL_CASES:
        data_type = random_case.attributes.get("data_type", mps.DataType.UINT32)
        note(
            random_case.kernel,
            data_type.name.lower(),
            lambda case=random_case, dtype=data_type: _encode_random(device, case, dtype),
        )
    return found


def plan_all() -> dict[str, Types]:
    """What each device has kernels for, by its kind."""
    return {kind: _on(mps.Device(kind)) for kind in host_kinds()}
