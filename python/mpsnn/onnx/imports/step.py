# SPDX-License-Identifier: MIT
"""One ONNX node on its way in: what the tables' functions are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import ImageNode, UnsupportedError
from mpsnn.nodes import NeuronLinearNode
from mpsnn.onnx.tensor import STANDARD, Axes, Image, LayoutError, Tensor, placed, to_image

Value = Tensor | NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
BOOLEAN, INDEX = np.dtype(np.bool_), np.dtype(np.int64)


@dataclass(frozen=True)
class Step:
    """A node with its operands.

    Attributes:
        name: Its name, or one made from its operator.
        operator: ONNX's name of what it does.
        opset: The version that the model asks for.
        attributes: By ONNX's names.
        inputs: Tensors and constants; None: left out.
        shapes: Of its outputs.
        dtypes: Of its outputs.
        add_constant: Makes an array (N, H, W, C) an image that is the same in each run.
    """

    name: str
    operator: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]
    shapes: Sequence[tuple[int, ...]]
    dtypes: Sequence[np.dtype[Any]]
    add_constant: Callable[[NDArray[Any]], ImageNode]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.shapes[0]

    def refuse(self, reason: str) -> NoReturn:
        """Fails with an error that names the node and its operator.

        Args:
            reason: Why there is no graph for it.

        Raises:
            UnsupportedError: Always.
        """
        msg = f"import_model: {self.name} ({self.operator}): {reason}"
        raise UnsupportedError(msg)

    def attribute(self, name: str, default: Any) -> Any:  # noqa: ANN401 (what ONNX stores)
        """An attribute, or what it is where it is left out."""
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return len(self.inputs) > index and self.inputs[index] is not None

    def constant(self, index: int, default: Any = None) -> NDArray[Any]:  # noqa: ANN401 (any array)
        """An input that must be known when the model is read."""
        if not self.has(index):
            return np.asarray(default)
        value = self.inputs[index]
        if isinstance(value, Tensor):
            self.refuse(f"input {index}: expected a constant, got a tensor that each run computes")
        assert value is not None  # noqa: S101 (it is given)
        return value

    def number(self, index: int) -> float | None:
        """A constant input that is one number; None where it is not."""
        value = self.inputs[index]
        if value is None or isinstance(value, Tensor) or value.size != 1:
            return None
        return float(value.reshape(())[()])

    def integers(self, index: int, default: Sequence[int] | None = None) -> list[int]:
        """A constant input as a list of integers."""
        return [int(value) for value in self.constant(index, default).reshape(-1)]

    def tensor(self, index: int = 0) -> Tensor:
        """An input as a tensor; a constant becomes an image that is the same in each run."""
        value = self.inputs[index]
        if isinstance(value, Tensor):
            return value
        assert value is not None  # noqa: S101 (ONNX's checker has looked)
        return self.constant_tensor(value, STANDARD[self.rank(value.shape)])

    def floats(self, index: int = 0) -> Tensor:
        """An input that must be of floating point."""
        found = self.tensor(index)
        if found.dtype not in FLOATS:
            self.refuse(f"input {index}: expected float32 or float16, got {found.dtype}")
        return found

    def constant_tensor(self, values: NDArray[Any], axes: Axes) -> Tensor:
        """An array as a tensor in a layout of one's choice."""
        if values.dtype not in (*FLOATS, BOOLEAN):
            self.refuse(f"expected float32, float16 or bool constants, got {values.dtype}")
        image = to_image(values.astype(np.float32) if values.dtype == BOOLEAN else values, axes)
        return Tensor(values.shape, values.dtype, axes, lambda: self.add_constant(image))

    def rank(self, shape: Sequence[int]) -> int:
        """The number of axes, four at most."""
        if len(shape) > 4:
            self.refuse(f"expected at most 4 axes, got shape {tuple(shape)}")
        return len(shape)

    def place(self, tensor: Tensor, axes: Axes) -> Image:
        """A tensor's image with its axes where they are wanted."""
        try:
            return placed(tensor, axes)
        except LayoutError as error:
            self.refuse(str(error))

    def standard(self, index: int = 0) -> Image:
        """An input's image in ONNX's usual layout: (N, C, H, W)."""
        tensor = self.floats(index)
        return self.place(tensor, STANDARD[len(tensor.shape)])

    def axis(self, default: int, rank: int) -> int:
        """The attribute `axis`, from the front."""
        axis = int(self.attribute("axis", default))
        return axis + rank if axis < 0 else axis

    def result(self, image: Image, axes: Axes | None = None, index: int = 0) -> Tensor:
        """An output; without axes in ONNX's usual layout."""
        shape = self.shapes[index]
        layout = STANDARD[self.rank(shape)] if axes is None else axes
        return Tensor(shape, self.dtypes[index], layout, lambda: image)


def linear(image: Image, a: float, b: float = 0.0) -> Image:
    """A * image + b."""
    return image if (a, b) == (1.0, 0.0) else NeuronLinearNode(image, a, b)
