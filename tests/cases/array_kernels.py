# SPDX-License-Identifier: MIT
"""Cases of the kernels of arrays, and of optimizers on any memory."""

from __future__ import annotations

from typing import Any

from cases.matrix_kernels import HALVES, KernelCase

C = KernelCase
ARRAYS = [
    C("NDArrayMatrixMultiplication", ((3, 4), (4, 5), (3, 5), None)),
    C(
        "NDArrayMatrixMultiplication",
        ((2, 1, 3, 4), (6, 4, 5), (2, 6, 3, 5), (2, 6, 3, 5)),
        attributes={"alpha": 2.0, "beta": -0.5},
    ),
    C("NDArrayMatrixMultiplication", ((2, 3, 4), (4, 5), (2, 3, 5), (2, 3, 5)), types=HALVES),
    C("NDArrayGather", ((4, 3, 5), (6,), (6, 3, 5)), types=("float32", "int32")),
    C(
        "NDArrayGather",
        ((4, 4, 5), (7,), (4, 7, 5)),
        attributes={"axis": 1},
        types=("float16", "uint32", "float16"),
    ),
    C("NDArrayGatherGradient", ((6, 3, 5), (6,), (4, 3, 5)), types=("float32", "int32")),
    C(
        "NDArrayGatherGradient",
        ((4, 3, 7), (7,), (4, 3, 5)),
        attributes={"axis": 2},
        types=("float16", "uint32", "float16"),
    ),
    C("NDArrayStridedSlice", ((7, 8), (3, 2)), attributes={"starts": [1, 2], "strides": [2, 3]}),
    C("NDArrayStridedSlice", ((7, 8, 3), (7, 8, 2)), types=HALVES),
    C(
        "NDArrayStridedSliceGradient",
        ((3, 2), (7, 8)),
        attributes={"starts": [1, 2], "strides": [2, 3]},
    ),
    C(
        "NDArrayStridedSliceGradient",
        ((3, 2), (7, 8)),
        attributes={"strides": [2, 3]},
        types=HALVES,
    ),
]
TREATED = {
    "learning_rate": 0.25,
    "apply_gradient_clipping": True,
    "gradient_clip_max": 0.5,
    "gradient_clip_min": -0.25,
    "gradient_rescale": 2.0,
    "regularization_scale": 0.125,
}
UPDATES = [
    C("OptimizerStochasticGradientDescentUpdate", ((7,), (7,), (7,), None)),
    C(
        "OptimizerStochasticGradientDescentUpdate",
        ((3, 5), (3, 5), (3, 5), (3, 5)),
        attributes={**TREATED, "regularization_type": 1, "momentum_scale": 0.5},
    ),
    C(
        "OptimizerStochasticGradientDescentUpdate",
        ((3, 5), (3, 5), (3, 5), (3, 5)),
        attributes={
            **TREATED,
            "regularization_type": 2,
            "momentum_scale": 0.5,
            "use_nesterov_momentum": True,
        },
        types=HALVES,
    ),
    C("OptimizerAdamUpdate", ((7,), (7,), (7,), (7,), (7,), None)),
    C(
        "OptimizerAdamUpdate",
        ((2, 3, 5),) * 6,
        attributes={
            **TREATED,
            "regularization_type": 2,
            "beta1": 0.5,
            "beta2": 0.75,
            "epsilon": 0.125,
            "time_step": 3,
        },
    ),
    C("OptimizerAdamUpdate", ((3, 5),) * 6, types=HALVES),
    C(
        "OptimizerRMSPropUpdate",
        ((2, 3, 4, 5),) * 4,
        attributes={**TREATED, "regularization_type": 1, "decay": 0.5, "epsilon": 0.125},
    ),
    C("OptimizerRMSPropUpdate", ((7,),) * 4),
]
KERNEL_CASES = [*ARRAYS, *UPDATES]

CASES: list[Any] = []  # none of nodes
