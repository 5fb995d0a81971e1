# SPDX-License-Identifier: MIT
"""Files of tensors by name: safetensors, and what `torch.save` writes, of which nothing is run."""

from __future__ import annotations

import os
import pickle  # the name of an error only
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import FileError
from mpsnn.files import MissingPackageError, optional_module

# A file of torch.save: a zip file, or before PyTorch 1.6 a bare pickle.
PICKLES = (b"PK\x03\x04", b"\x80")

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
        FileError: There is no such file, or it is neither, or holds other things than tensors.
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
    reader = optional_module("safetensors.numpy", extra, f"reading {path}")
    try:
        tensors: Tensors = reader.load_file(path)
    except (OSError, package.SafetensorError) as error:
        raise FileError(f"{path}: expected a safetensors file of tensors: {error}") from error
    return tensors


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
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise FileError(f"{wanted}: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(found, Mapping) or not all(
        isinstance(tensor, torch.Tensor) for tensor in found.values()
    ):
        raise FileError(f"{wanted}, got {type(found)}")
    return {
        str(name): (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        for name, tensor in found.items()
    }
