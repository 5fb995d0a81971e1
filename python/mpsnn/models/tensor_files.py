# SPDX-License-Identifier: MIT
"""Files of tensors by name: safetensors, and what `torch.save` writes, of which nothing is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import FileError
from mpsnn.files import MissingPackageError, optional_module

# A file of torch.save: a zip file, or before PyTorch 1.6 a bare pickle.
PICKLES = (b"PK\x03\x04", b"\x80")

# Element types of safetensors that are read; NumPy lacks bfloat16.
SHORT = "BF16"
ELEMENTS = ("F64", "F32", "F16", SHORT, *(f"{s}{bits}" for s in "IU" for bits in (64, 32, 16, 8)))
ELEMENTS += ("BOOL",)

Tensors = Mapping[str, NDArray[np.floating]]


def read_tensors(path: str | os.PathLike[str], extra: str = "models") -> Tensors:
    """Reads a file of tensors; what it begins with says which format it has.

    Args:
        path: A safetensors file, or one of `torch.save`, for which PyTorch must be installed. It
            reads it with `weights_only=True`: no pickle in it is run.
        extra: The extra of mpsnn that brings the package safetensors.

    Returns:
        Arrays by name. NumPy has no bfloat16: such tensors come as float32.

    Raises:
        FileError: There is no such file, or it is neither, or damaged, or holds other things than
            tensors that NumPy has.
        MissingPackageError: The package is missing that reads it.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(4)
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise FileError(f"{path}: expected a file of weights, {reason}") from error
    return _read_torch(path) if start.startswith(PICKLES) else _read_safetensors(path, extra)


def _read_safetensors(path: str | os.PathLike[str], extra: str) -> Tensors:
    package = optional_module("safetensors", extra, f"reading {path}")
    optional_module("safetensors.numpy", extra, f"reading {path}")
    try:
        with package.safe_open(path, framework="numpy") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)
            _check_elements(path, types)
            short = {name for name, element in types.items() if element == SHORT}
            tensors = {name: file.get_tensor(name) for name in types if name not in short}
        if short:
            tensors |= {
                name: _widened(entry)
                for name, entry in package.deserialize(Path(path).read_bytes())
                if name in short
            }
    except FileError:  # ours, which is an OSError
        raise
    except (OSError, package.SafetensorError) as error:
        raise FileError(f"{path}: expected a safetensors file of tensors: {error}") from error
    return tensors


def _check_elements(path: str | os.PathLike[str], types: Mapping[str, str]) -> None:
    for name, element in types.items():
        if element not in ELEMENTS:
            msg = f"{path}: {name}: expected one of {', '.join(ELEMENTS)}, got {element}"
            raise FileError(msg)


def _widened(entry: Mapping[str, Any]) -> NDArray[np.float32]:
    """Of bfloat16, which are the upper halves of float32."""
    bits = np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16
    values: NDArray[np.float32] = bits.view(np.float32).reshape(entry["shape"])
    return values


def _read_torch(path: str | os.PathLike[str]) -> Tensors:
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(
            f"{path} was written by torch.save, which only PyTorch reads: install torch, or save "
            "it as safetensors"
        ) from error
    wanted = f"{path}: expected PyTorch's file of tensors by name"
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes it meet
        text = str(error).partition("\n")[0] or type(error).__name__
        raise FileError(f"{wanted}: {text}") from error
    if not isinstance(found, Mapping):
        raise FileError(f"{wanted}, got a {type(found).__name__}")
    tensors: dict[str, NDArray[Any]] = {}
    for name, tensor in found.items():
        if not isinstance(tensor, torch.Tensor):
            raise FileError(f"{wanted}, got {name!r}, a {type(tensor).__name__}")
        try:
            wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
            tensors[str(name)] = wide.detach().resolve_conj().resolve_neg().numpy()
        except (RuntimeError, TypeError) as error:  # sparse, quantized, of 8 bits, without memory
            raise FileError(f"{path}: {name}: expected a tensor for NumPy: {error}") from error
    return tensors
