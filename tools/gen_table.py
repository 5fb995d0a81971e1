# SPDX-License-Identifier: MIT
"""The node table as typed rows, for the generators."""

from __future__ import annotations

import struct
import textwrap
from dataclasses import dataclass
from types import ModuleType
from typing import Any

RESULT_SIZE = "**Result size**"

FLOAT_MAX: float = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


@dataclass(frozen=True)
class Source:
    """A source image of a node class."""

    name: str
    doc: str
    derivative: str
    optional: bool
    variadic: bool


@dataclass(frozen=True)
class Attribute:
    """A constructor argument that is no image."""

    name: str
    type: str
    doc: str
    required: bool
    default: Any
    default_from: str
    minimum: float
    maximum: float
    enum: str
    supported: list[int]


@dataclass(frozen=True)
class NodeClass:
    """A node class."""

    name: str
    apple: str
    family: str
    brief: str
    doc: str
    sources: list[Source]
    attributes: list[Attribute]
    fixed: dict[str, Any]
    weights: str
    makes_weights: bool
    trainable: bool
    gradient: bool
    has_padding: bool
    starts_gradient: bool
    has_labels: bool
    state: list[str]
    has_derivative: bool

    @property
    def apple_text(self) -> str:
        """The class that this one is the counterpart of."""
        return f"Apple: {self.apple}." if self.apple else "Apple has no such class."

    def expect_size(self) -> None:
        """Throws unless the text says how large the result is."""
        if RESULT_SIZE not in self.doc:
            raise ValueError(
                f"{self.name}: expected a paragraph {RESULT_SIZE} in its doc, got none"
            )

    @property
    def grouped(self) -> list[Attribute]:
        """The attributes that come in a descriptor; none for most classes."""
        fields = DESCRIPTORS.get(self.descriptor, set())
        return [attribute for attribute in self.attributes if attribute.name in fields]

    @property
    def descriptor(self) -> str:
        """The descriptor that an argument `loss_descriptor` is; empty for most classes."""
        names = {attribute.name for attribute in self.attributes}
        return next((name for name, fields in DESCRIPTORS.items() if names >= fields), "")

    @property
    def own(self) -> list[Attribute]:
        """The attributes that are arguments of their own."""
        return [attribute for attribute in self.attributes if attribute not in self.grouped]


@dataclass(frozen=True)
class Operand:
    """An operand of an encode method."""

    name: str
    kinds: list[str]
    doc: str
    writes: bool
    optional: bool
    variadic: bool
    in_place: bool

    @property
    def python_type(self) -> str:
        """Type of one operand: `Matrix | Vector`."""
        return " | ".join(self.kinds)

    @property
    def cpp_type(self) -> str:
        """The same: what several kinds have in common; the library checks them."""
        if len(self.kinds) == 1:
            return self.kinds[0]
        return "KernelOperand" if "Image" in self.kinds else "Array"


@dataclass(frozen=True)
class EncodeMethod:
    """A way to encode a kernel."""

    name: str
    doc: str
    operands: list[Operand]


@dataclass(frozen=True)
class KernelClass:
    """A class of kernels that are encoded one by one."""

    name: str
    apple: str
    family: str
    brief: str
    doc: str
    example: str
    attributes: list[Attribute]
    fixed: dict[str, Any]
    methods: list[EncodeMethod]
    has_state: bool

    @property
    def grouped(self) -> list[Attribute]:
        """The attributes that come in a distribution descriptor; none for most classes."""
        found = [a for a in self.attributes if a.name in DISTRIBUTION_FIELDS]
        return found if len(found) == len(DISTRIBUTION_FIELDS) else []

    @property
    def own(self) -> list[Attribute]:
        """The attributes that are arguments of their own."""
        return [attribute for attribute in self.attributes if attribute not in self.grouped]

    @property
    def apple_text(self) -> str:
        """The class that this one is the counterpart of."""
        return f"Apple: {self.apple}." if self.apple else "Apple has no such class."


@dataclass(frozen=True)
class Enumeration:
    """An enumeration that node classes use."""

    name: str
    apple: str
    brief: str
    enumerators: dict[str, int]

    def name_of(self, value: int) -> str:
        """Name of an enumerator."""
        return next(name for name, number in self.enumerators.items() if number == value)


LOSS_FIELDS = {
    "loss_type",
    "reduction_type",
    "weight",
    "label_smoothing",
    "number_of_classes",
    "epsilon",
    "delta",
    "reduce_across_batch",
}

YOLO_FIELDS = {
    "anchor_boxes",
    "xy_loss_type",
    "wh_loss_type",
    "classes_loss_type",
    "reduction_type",
    "weight",
    "delta",
    "scale_xy",
    "scale_wh",
    "scale_no_object",
    "scale_object",
    "scale_class",
    "minimum_iou_for_object_presence",
    "maximum_iou_for_object_absence",
    "rescore",
}

DESCRIPTORS = {"LossDescriptor": LOSS_FIELDS, "YOLOLossDescriptor": YOLO_FIELDS}

DISTRIBUTION_FIELDS = {
    "distribution_type",
    "minimum",
    "maximum",
    "mean",
    "standard_deviation",
}


@dataclass(frozen=True)
class Table:
    """All that the generators write from."""

    nodes: list[NodeClass]
    kernels: list[KernelClass]
    enums: dict[str, Enumeration]

    @classmethod
    def read(cls, core: ModuleType) -> Table:
        """Reads the table of the native module."""
        nodes = []
        for row in core.node_table():
            sources = [Source(**source) for source in row.pop("sources")]
            attributes = [Attribute(**attribute) for attribute in row.pop("attributes")]
            nodes.append(NodeClass(sources=sources, attributes=attributes, **row))
            nodes[-1].expect_size()
        kernels = []
        for row in core.kernel_table():
            attributes = [Attribute(**attribute) for attribute in row.pop("attributes")]
            methods = [
                EncodeMethod(operands=[Operand(**o) for o in method.pop("operands")], **method)
                for method in row.pop("methods")
            ]
            kernels.append(KernelClass(attributes=attributes, methods=methods, **row))
        enums = {row["name"]: Enumeration(**row) for row in core.enum_table()}
        return cls(nodes, kernels, enums)

    def enumerator(self, attribute: Attribute) -> str:
        """Name of the enumerator that is an attribute's default."""
        return self.enums[attribute.enum].name_of(attribute.default)


def sentence(text: str) -> str:
    """A phrase of the table as a sentence; names in code style keep their case."""
    first = text.split(" ", 1)[0]
    if not text.startswith("`") and first.islower() and "_" not in first:
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def paragraphs(text: str, width: int) -> list[str]:
    """Markdown text broken anew; list items and what is indented keep their lines' starts."""
    lines: list[str] = []
    for block in text.strip().split("\n\n"):
        if lines:
            lines.append("")
        items: list[str] = []
        for line in block.split("\n"):
            if line.startswith("- ") or not items:
                items.append(line)
            else:
                items[-1] += " " + line.strip()
        for item in items:
            indent = "  " if item.startswith("- ") else ""
            lines += textwrap.wrap(
                item,
                width,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines
