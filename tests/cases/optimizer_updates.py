# SPDX-License-Identifier: MIT
"""Cases of optimizers that are encoded by themselves, on vectors, matrices, arrays and images."""

from __future__ import annotations

from cases.matrix_kernels import HALVES
from cases.matrix_kernels import KernelCase as C

TREATED = {
    "learning_rate": 0.25,
    "apply_gradient_clipping": True,
    "gradient_clip_max": 0.5,
    "gradient_clip_min": -0.25,
    "gradient_rescale": 2.0,
    "regularization_scale": 0.125,
}
KERNEL_CASES = [
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
