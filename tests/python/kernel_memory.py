# SPDX-License-Identifier: MIT
"""Operands of kernels in memory of a device, with guards around them."""

from __future__ import annotations

from typing import Any

import numpy as np

import mpsnn as mps

GUARD = 77  # what stands around operands


class Memory:
    """An operand in a buffer of the device, with guards around each row."""

    def __init__(self, device: mps.Device, kind: str, values: np.ndarray) -> None:
        kind = kind or ("Vector", "Matrix", "NDArray", "Image")[values.ndim - 1]
        margin = 0 if kind == "Image" else 1
        self._inside = tuple(slice(margin, margin + n) for n in values.shape)
        whole = np.full([n + 2 * margin for n in values.shape], GUARD, values.dtype)
        whole[self._inside] = values
        self._whole = whole
        if kind == "Image":
            self.operand: Any = mps.Image(device, values)
            return
        self._buffer = mps.Buffer(device, whole)
        strides = whole.strides
        own: dict[str, Any] = {
            "data_type": mps.DataType[values.dtype.name.upper()],
            "offset": sum(strides),
        }
        if kind == "NDArray":
            self.operand = mps.NDArray(
                self._buffer, shape=list(values.shape), strides=list(strides), **own
            )
        elif kind == "Vector":
            count, length = values.shape if values.ndim == 2 else (1, values.shape[0])
            own["vector_bytes"] = strides[0] if values.ndim == 2 else 0
            self.operand = mps.Vector(self._buffer, length=length, vectors=count, **own)
        else:
            count, rows, columns = values.shape if values.ndim == 3 else (1, *values.shape)
            own |= {"row_bytes": strides[-2], "matrix_bytes": strides[0]}
            if count == 1:
                own["matrix_bytes"] = 0
            self.operand = mps.Matrix(
                self._buffer, rows=rows, columns=columns, matrices=count, **own
            )

    def _read(self) -> np.ndarray:
        data = np.frombuffer(self._buffer.read(), self._whole.dtype)
        return data.reshape(self._whole.shape)

    @property
    def view(self) -> np.ndarray:
        """The values as they are now."""
        if isinstance(self.operand, mps.Image):
            return np.asarray(self.operand)
        return self._read()[self._inside]

    def guards_hold(self) -> bool:
        """Whether nothing outside of the operand was written."""
        if isinstance(self.operand, mps.Image):
            return True
        outside = np.ones(self._whole.shape, bool)
        outside[self._inside] = False
        return bool(np.all(self._read()[outside] == self._whole[outside]))
