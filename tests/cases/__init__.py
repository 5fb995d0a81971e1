# SPDX-License-Identifier: MIT
"""The shared test cases: a table a family, plain data that every backend's tests run.

A case names a node class, the sizes of its sources and its parameters. It says nothing of how to
compute what must come out: tests/python/oracles does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Size = tuple[int, int, int, int]


@dataclass(frozen=True)
class Convolution:
    """Geometry of a convolution's data source."""

    kernel: tuple[int, int]  # height, width
    inputs: int
    outputs: int
    stride: tuple[int, int] = (1, 1)  # y, x
    dilation: tuple[int, int] = (1, 1)  # y, x
    groups: int = 1
    bias: bool = True
    sub_pixel: int = 1
    stored: str = "float32"  # how the weights are given (STORED)


@dataclass(frozen=True)
class Normalization:
    """Options of a normalisation's data source; its channels are those of the source."""

    epsilon: float | None = None  # None: the data source's default
    groups: int | None = None  # of channels, for a group normalisation


@dataclass(frozen=True)
class Case:
    """One node.

    Attributes:
        node: Name of the node class.
        sources: Size (N, H, W, C) of each source image.
        attributes: Arguments of the node's constructor that are no images.
        convolution: Geometry of the data source, for classes that take one.
        normalization: Options of the data source of a normalisation.
        ranges: For each source, in which range its values are (RANGES); "any" for those left out.
        padding: Bits of the padding method; None: the class's default.
        exact: Whether small integers go in and out without rounding.
        exact_gradients: Whether small integers come back as gradients without rounding, too.
        differentiable: False for classes without a gradient.
    """

    node: str
    sources: tuple[Size, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    convolution: Convolution | None = None
    padding: int | None = None
    exact: bool = True
    exact_gradients: bool = True
    differentiable: bool = True
    normalization: Normalization | None = None
    ranges: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def id(self) -> str:
        """A name for test reports."""
        parts = ["+".join("x".join(map(str, size)) for size in self.sources)]
        if self.convolution is not None:
            c = self.convolution
            parts.append(f"k{c.kernel[0]}x{c.kernel[1]}-o{c.outputs}")
            parts += [f"s{c.stride[0]}x{c.stride[1]}"] * (c.stride != (1, 1))
            parts += [f"d{c.dilation[0]}x{c.dilation[1]}"] * (c.dilation != (1, 1))
            parts += [f"g{c.groups}"] * (c.groups != 1) + ["nobias"] * (not c.bias)
            parts += [f"r{c.sub_pixel}"] * (c.sub_pixel != 1)
            parts += [c.stored] * (c.stored != "float32")
        if self.normalization is not None and self.normalization.epsilon is not None:
            parts.append(f"e{self.normalization.epsilon}")
        if self.normalization is not None and self.normalization.groups is not None:
            parts.append(f"g{self.normalization.groups}")
        parts += [f"p{self.padding}"] * (self.padding is not None)
        parts += [f"{name}={_text(value)}" for name, value in self.attributes.items()]
        return self.node.removesuffix("Node") + "-" + "-".join(parts)


def _text(value: object) -> str:
    if isinstance(value, list):
        # Short lists as they are: cases may differ in them alone.
        return str(value).replace(" ", "") if len(value) <= 4 else f"[{len(value)}]"
    return getattr(value, "name", str(value))


# Padding methods by name: alignment | remainder | size (PaddingMethod).
VALID = 0
SAME = 16
FULL = 32
TOP_LEFT, BOTTOM_RIGHT = 1, 2
REMAINDER_TOP_RIGHT, REMAINDER_BOTTOM_LEFT, REMAINDER_BOTTOM_RIGHT = 4, 8, 12
EXCLUDE_EDGES = 1 << 15

# Ranges of a source's values: any number; between 0.1 and 0.9; 0 or 1; not negative, with sum 1
# over the channels; at most 0; from 1 on; from 1 on or from -1 down;
# "boxes3": labels of objects for three anchors.
RANGES = ("any", "probability", "binary", "distribution", "negative", "positive", "nonzero")

# How weights are given: as numbers; 8 bits with a range for each output channel; with a table.
STORED = ("float32", "float16", "linear", "lookup_table")

# Edge modes (ImageEdgeMode), loss types (LossType) and reductions (ReductionType).
ZERO, CLAMP = 0, 1
ABSOLUTE, SQUARED, SOFT_MAX, SIGMOID, CATEGORICAL = 0, 1, 2, 3, 4
HINGE, HUBER, COSINE, LOG, DIVERGENCE = 5, 6, 7, 8, 9
NONE, SUM, MEAN, NON_ZERO = 0, 1, 2, 3
