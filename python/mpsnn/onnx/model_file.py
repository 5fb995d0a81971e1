# SPDX-License-Identifier: MIT
"""Reading ONNX files that nobody vouches for: whatever is in them, an error and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mpsnn._core import ArchiveError, FileError

OLDEST_OPSET = 13
LARGEST_TENSOR = 2**31 - 1  # values
_EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}


def read_model(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """A model with all its tensors inside, as ONNX's own checker wants it.

    Args:
        model: A file; its bytes; or the model itself, of which external data is not read.

    Returns:
        The model.

    Raises:
        ArchiveError: It is truncated, inconsistent or for another version; an input or output has
            no shape, known or open; a tensor's data is outside of the model's folder, or of another
            size than the tensor.
        FileError: The file cannot be read.
    """
    folder = None
    if isinstance(model, onnx.ModelProto):
        found = onnx.ModelProto()
        found.CopyFrom(model)
    elif isinstance(model, bytes):
        found = _parsed(model)
    else:
        path = Path(os.fspath(model))
        found = _parsed(_bytes(path))
        folder = path.resolve().parent
    for entry in (*found.opset_import, *found.graph.node):
        if entry.domain == "ai.onnx":  # the same domain by its other name
            entry.domain = ""
    for tensor in _tensors(found.graph):
        _check_tensor(tensor)
        if tensor.data_location == TensorProto.EXTERNAL:
            _take_in(tensor, folder)
    for title, values in (("input", found.graph.input), ("output", found.graph.output)):
        _check_shapes(title, values)
    try:
        onnx.checker.check_model(found)
    except Exception as error:  # whatever the checker meets
        raise ArchiveError(f"import_model: {_first_lines(error)}") from error
    return found


def _check_shapes(title: str, values: Iterable[onnx.ValueInfoProto]) -> None:
    """The checker asks for the same, but does not say of which."""
    for value in values:
        kind = value.type.WhichOneof("value")
        tensor = value.type.tensor_type
        if kind is None or (kind == "tensor_type" and not tensor.HasField("shape")):
            missing = "type" if kind is None else "shape"
            raise ArchiveError(
                f"import_model: {title} {value.name}: expected a type with a shape, whose extents "
                f"may be open, the model gives no {missing}"
            )


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model asks for.

    Args:
        model: The model.

    Returns:
        The version.

    Raises:
        ArchiveError: It is none of those known, or none is given.
    """
    newest = onnx.defs.onnx_opset_version()
    versions = [entry.version for entry in model.opset_import if not entry.domain]
    if len(versions) != 1 or not 1 <= versions[0] <= newest:
        msg = f"import_model: opset: expected one up to {newest}, got {versions or 'none'}"
        raise ArchiveError(msg)
    return int(versions[0])


def array_of(tensor: onnx.TensorProto) -> NDArray[Any]:
    """A tensor's values.

    Args:
        tensor: The tensor, with its data inside.

    Returns:
        The values in ONNX's layout.

    Raises:
        ArchiveError: The data does not fit its shape and type.
    """
    _check_tensor(tensor)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # whatever the conversion meets
        raise ArchiveError(f"import_model: {tensor.name}: {_first_lines(error)}") from error


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"import_model: {path}: {error.strerror}") from error


def _parsed(content: bytes) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # the parser's own classes
        raise ArchiveError(f"import_model: no ONNX model: {_first_lines(error)}") from error


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the graph; subgraphs are refused with their operators."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if any(extent < 0 for extent in tensor.dims) or prod(tensor.dims) > LARGEST_TENSOR:
        shape = list(tensor.dims)
        msg = f"import_model: {tensor.name}: expected at most {LARGEST_TENSOR} values, got {shape}"
        raise ArchiveError(msg)


def _take_in(tensor: onnx.TensorProto, folder: Path | None) -> None:
    """Reads external data: from a plain file in the model's folder, exactly the tensor's size."""
    what = f"import_model: {tensor.name}: external data"
    if folder is None:
        raise ArchiveError(f"{what}: expected none, as the model comes from no file")
    given = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(folder, given.get("location", ""), what)
    wanted = prod(tensor.dims) * _item_size(tensor, what)
    try:
        offset, length = int(given.get("offset", "0")), int(given.get("length", str(wanted)))
    except ValueError as error:
        raise ArchiveError(f"{what}: expected numbers as offset and length") from error
    if set(given) - _EXTERNAL_KEYS:
        raise ArchiveError(f"{what}: got unknown keys {sorted(set(given) - _EXTERNAL_KEYS)}")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if length != wanted or offset < 0 or offset + wanted > size:
                msg = f"{what}: expected {wanted} bytes in {size}, got {length} from {offset} on"
                raise ArchiveError(msg)
            file.seek(offset)
            content = file.read(wanted)
    except OSError as error:
        raise FileError(f"{what}: {path}: {error.strerror}") from error
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = content


def _inside(folder: Path, location: str, what: str) -> Path:
    try:
        path = (folder / location).resolve()
        is_inside = bool(location) and path.is_relative_to(folder) and path.is_file()
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{what}: {error}") from error
    if Path(location).is_absolute() or not is_inside:
        msg = f"{what}: expected a file in the model's folder, got {location!r}"
        raise ArchiveError(msg)
    return path


def _item_size(tensor: onnx.TensorProto, what: str) -> int:
    try:
        return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"{what}: element type {tensor.data_type} is not known") from error
