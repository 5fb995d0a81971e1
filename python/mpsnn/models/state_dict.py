# SPDX-License-Identifier: MIT
"""Weights by torchvision's names and in its layouts, in and out.

    here                                        there
    weights (O, H, W, I) of a convolution       weight (O, I, H, W)
    weights (O, H, W, I), fully connected       weight (O, I * H * W)
    bias                                        bias
    gamma, beta                                 weight, bias
    mean, variance                              running_mean, running_var

`num_batches_tracked` counts steps, which the normalisations here do not need: it is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import DataSource, Device, InvalidArgumentError
from mpsnn.models.layers import Net
from mpsnn.models.tensor_files import read_tensors

NAMES = {
    "weights": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
IGNORED = "num_batches_tracked"


def load_state_dict(
    net: Net,
    tensors: str | os.PathLike[str] | Mapping[str, NDArray[np.floating]],
    *,
    strict: bool = True,
    device: Device | None = None,
) -> list[str]:
    """Gives a net the weights of a torchvision state dict.

    Args:
        net: From one of the functions of this package.
        tensors: A safetensors file (needs the package `safetensors`: `pip install
            "mpsnn[models]"`), a file of `torch.save` (needs PyTorch, which reads it with
            `weights_only=True`: no pickle in it is run), or arrays by name; float16, float32 or
            float64.
        strict: Refuse tensors that are missing or not expected. False: take those that are there
            (a net with another last layer). Wrong shapes are refused in both cases.
        device: Where the net has been used already; None: devices that use it from now on.

    Returns:
        Names that were missing or not expected, sorted; always empty where `strict`.

    Raises:
        InvalidArgumentError: Tensors are missing, not expected, wrongly shaped or not of floating
            point; one error names all, and the net is as it was.
        FileError: The file cannot be read, is neither a safetensors file nor one of `torch.save`,
            or holds other things than tensors.
        MissingPackageError: A file was given and `safetensors`, or PyTorch, is not installed.
    """
    found = dict(tensors if isinstance(tensors, Mapping) else read_tensors(tensors))
    values: list[tuple[DataSource, str, NDArray[np.float32]]] = []
    faults: list[str] = []
    missing: list[str] = []
    for name, source, parameter in _entries(net):
        if name not in found:
            missing.append(name)
            continue
        tensor = np.asarray(found.pop(name))
        shape = source.parameters[parameter]
        wanted = _their_shape(net, source, parameter)
        if tensor.shape != wanted:
            faults.append(f"{name}: expected shape {wanted}, got {tensor.shape}")
        elif not np.issubdtype(tensor.dtype, np.floating):
            faults.append(f"{name}: expected floating point, got {tensor.dtype}")
        else:
            values.append((source, parameter, _to_ours(tensor, tuple(shape))))
    unexpected = [name for name in found if name.rpartition(".")[2] != IGNORED]
    if strict:
        faults += [f"{name}: missing" for name in missing]
        faults += [f"{name}: not expected" for name in unexpected]
    if faults:
        raise InvalidArgumentError("load_state_dict: " + "; ".join(faults))
    for source, parameter, array in values:
        source.set_initial(parameter, array)
        if device is not None:
            device.write_parameter(source, parameter, array)
    return sorted(missing + unexpected)


def state_dict(net: Net, device: Device | None = None) -> dict[str, NDArray[np.float32]]:
    """A net's weights by torchvision's names and in its layouts.

    Args:
        net: From one of the functions of this package.
        device: Whose latest weights; None: those that new devices start from.

    Returns:
        New arrays, to be saved with `safetensors.numpy.save_file` or given to PyTorch.
    """
    result: dict[str, NDArray[np.float32]] = {}
    for name, source, parameter in _entries(net):
        array = (
            source.initial(parameter)
            if device is None
            else device.read_parameter(source, parameter)
        )
        if parameter == "weights":
            array = array.transpose(0, 3, 1, 2)
        result[name] = np.ascontiguousarray(array.reshape(_their_shape(net, source, parameter)))
    return result


def _entries(net: Net) -> Iterator[tuple[str, DataSource, str]]:
    """Their name, data source and parameter of each tensor."""
    for layer, source in net.data_sources.items():
        for parameter in source.parameters:
            if parameter in NAMES:  # not an optimizer's moments
                yield f"{layer}.{NAMES[parameter]}", source, parameter


def _their_shape(net: Net, source: DataSource, parameter: str) -> tuple[int, ...]:
    shape = tuple(source.parameters[parameter])
    if parameter != "weights":
        return shape
    outputs, height, width, inputs = shape
    if source.label in net.fully_connected:
        return outputs, inputs * height * width
    return outputs, inputs, height, width


def _to_ours(tensor: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if len(shape) == 4:
        outputs, height, width, inputs = shape
        tensor = tensor.reshape(outputs, inputs, height, width).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(tensor, np.float32)
