# SPDX-License-Identifier: MIT
"""What the tests of mpsnn.onnx share: graphs of many cases, and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from case_nets import build, parameters_of, source_arrays
from cases import Case
from node_tests import encode
from numpy.typing import NDArray
from planned_cases import all_cases

import mpsnn as mps

Arrays = dict[str, NDArray[np.float32]]

# ONNX Runtime keeps a running sum over the channels; ours sums each window anew.
RELATIVE = {"CrossChannelNormalizationNode": 5e-5}
# Many cases of a class differ in channels alone: a third of them has every kind.
MANY = 60


@dataclass(frozen=True)
class CaseGraph:
    """All cases of a class in one graph."""

    cases: list[Case]
    graph: mps.Graph
    arrays: Arrays
    results: list[NDArray[np.float32]]

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Of the sources that the graph reads."""
        return {handle: self.arrays[handle].shape for handle in self.graph.source_handles}


def cases_of(node: str) -> list[Case]:
    """The cases of a class; of very many every third."""
    found = [case for case in all_cases() if case.node == node]
    return found[::3] if len(found) > MANY else found


def graph_of(node: str, device: mps.Device) -> CaseGraph:
    """The cases of a class as one graph, with values and what the device makes of them."""
    arrays: Arrays = {}
    images = []
    cases = cases_of(node)
    for number, case in enumerate(cases):
        net = build(case, parameters_of(case, integers=False), integers=False)
        values = source_arrays(case, integers=False)
        for source in net.sources:
            plain = source.handle
            source.handle = f"case{number}.{plain}"
            arrays[source.handle] = values[plain]
        images.append(net.node.result_image)
    graph = mps.Graph(device, images)
    results = [np.asarray(image) for image in encode(device, graph, arrays)]
    return CaseGraph(cases, graph, arrays, results)


def run_onnx(model: onnx.ModelProto, arrays: Mapping[str, NDArray[np.floating]]) -> list[object]:
    """What ONNX Runtime makes of a model, on one thread and without rewriting it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = {value.name for value in session.get_inputs()}
    return list(session.run(None, {name: arrays[name] for name in names}))


def check_close(
    name: str, got: NDArray[np.floating], expected: NDArray[np.floating], relative: float = 1e-5
) -> None:
    """Equal within a share of the largest value."""
    assert got.shape == expected.shape, f"{name}: {got.shape}, expected {expected.shape}"
    finite = np.isfinite(expected)
    size = float(np.abs(expected[finite]).max(initial=1e-3))
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * size, err_msg=name)
