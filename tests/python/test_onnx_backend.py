# SPDX-License-Identifier: MIT
"""The node tests of the package `onnx` that touch our operators, those left out with the reason."""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.case.node as onnx_cases
import pytest
from numpy.typing import NDArray
from onnx_left_out import LEFT_OUT

import mpsnn as mps
from mpsnn.onnx import import_model
from mpsnn.onnx.importer import FOLDED
from mpsnn.onnx.imports import ROWS

# The package computes the expected results of these value by value: it takes many seconds.
SLOW = {"averagepool", "lppool", "maxpool"}
MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(onnx_cases.__path__)
    if module.name.replace("_", "") in {operator.lower() for operator in ROWS}
)
# Which inputs must be known when a model is read, where not all but the first may be computed.
CONSTANTS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Dropout": (1, 2),
    "Gather": (1,),
    "Gemm": (1,),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (1,),
    "PRelu": (1,),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    **{name: (1,) for name in ROWS if name.startswith("Reduce")},
}
REASONS = {name: left_out for left_out in LEFT_OUT for name in left_out.names}


@cache
def cases_of(module: str) -> list[Any]:
    """The tests of a module all of whose operators are ours or computed when read."""
    known = len(onnx_cases._NodeTestCases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own arithmetic overflows
        importlib.import_module(f"{onnx_cases.__name__}.{module}")
    found = []
    for case in onnx_cases._NodeTestCases[known:]:
        operators = {node.op_type for node in case.model.graph.node}
        if operators <= set(ROWS) | FOLDED and operators & set(ROWS):
            found.append(case)
    return found


def values_of(value: object) -> NDArray[Any]:
    """An array; some tests have protobufs."""
    return np.asarray(
        onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    )


def run_case(case: Any, device: mps.Device) -> None:  # noqa: ANN401 (the package's class)
    """Runs a test with what must be known bound, and compares with its own tolerance."""
    graph = case.model.graph
    names = [value.name for value in graph.input]
    wanted = {
        node.input[i]
        for node in graph.node
        for i in CONSTANTS.get(node.op_type, ())
        if i < len(node.input)
    }
    for inputs, outputs in case.data_sets:
        arrays = dict(zip(names, inputs, strict=True))
        fixed = {name: values_of(x) for name, x in arrays.items() if name in wanted}
        model = import_model(case.model, constants=fixed)
        got = model.run(
            device, {name: values_of(x) for name, x in arrays.items() if name not in fixed}
        )
        for value, output in zip(graph.output, outputs, strict=True):
            expected = values_of(output)
            assert got[value.name].dtype == expected.dtype
            assert got[value.name].shape == expected.shape
            np.testing.assert_allclose(
                got[value.name], expected, rtol=case.rtol, atol=case.atol, err_msg=case.name
            )


@pytest.mark.parametrize(
    "module",
    [pytest.param(name, marks=[pytest.mark.long] * (name in SLOW)) for name in MODULES],
)
def test_node_tests(module: str, cpu: mps.Device) -> None:
    cases = cases_of(module)
    assert cases, module
    for case in cases:
        left_out = REASONS.get(case.name)
        if left_out is None:
            run_case(case, cpu)
            continue
        with pytest.raises(mps.UnsupportedError) as caught:
            run_case(case, cpu)
        assert re.search(left_out.error, str(caught.value)), f"{case.name}: {caught.value}"


def test_every_test_left_out_has_one_reason() -> None:
    names = [name for left_out in LEFT_OUT for name in left_out.names]
    assert len(names) == len(set(names))
