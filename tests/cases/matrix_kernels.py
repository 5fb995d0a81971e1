# SPDX-License-Identifier: MIT
"""Cases of the kernels of matrices, vectors and arrays: classes, methods, parameters, operands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class KernelCase:
    """One encode of one kernel.

    Attributes:
        kernel: Class.
        method: Encode method.
        attributes: Parameters; enumerations by their integers.
        shapes: Of the operands in their order; None: left out. Lists of operands are tuples of
            shapes in a list.
        types: Element types of the operands; shorter: float32 for the rest.
    """

    kernel: str
    shapes: tuple[Any, ...]
    method: str = "encode"
    attributes: dict[str, Any] = field(default_factory=dict)
    types: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What pytest calls it."""
        settings = "-".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.kernel}.{self.method}-{self.shapes}-{settings}-{'-'.join(self.types)}"

    def dtype(self, i: int) -> str:
        """Element type of operand i."""
        return self.types[i] if i < len(self.types) else "float32"


C = KernelCase
HALVES = ("float16",) * 9
RELU, LINEAR, SIGMOID, TANH, PRELU, RELUN, POWER = 1, 2, 3, 5, 10, 11, 12
NEURON = {"neuron_type": RELUN, "neuron_parameter_a": 0.25, "neuron_parameter_b": 1.5}
CURVE = {
    "neuron_type": POWER,
    "neuron_parameter_a": 0.5,
    "neuron_parameter_b": 4.0,
    "neuron_parameter_c": 2.0,
}
O3 = {
    "primary_source_matrix_origin": [1, 2],
    "secondary_source_matrix_origin": [2, 1],
    "result_matrix_origin": [1, 1],
}
O2 = {"source_matrix_origin": [1, 2], "result_matrix_origin": [2, 1]}
BATCH = {"batch_start": 1, "batch_size": 2}

MULTIPLICATIONS = [
    C("MatrixMultiplication", ((1, 1), (1, 1), (1, 1))),
    C("MatrixMultiplication", ((3, 5), (5, 7), (3, 7)), attributes={"alpha": 2.0, "beta": -1.0}),
    C(
        "MatrixMultiplication",
        ((5, 3), (7, 5), (3, 7)),
        attributes={"transpose_left": True, "transpose_right": True},
    ),
    C("MatrixMultiplication", ((4, 2, 3), (4, 3, 5), (4, 2, 5)), attributes=BATCH),
    # One row times a matrix, as decoders multiply, and a matrix times one column.
    C("MatrixMultiplication", ((1, 40), (40, 150), (1, 150)), attributes={"alpha": 0.5}),
    C(
        "MatrixMultiplication",
        ((40, 1), (150, 40), (1, 150)),
        attributes={"transpose_left": True, "transpose_right": True, "beta": 0.5},
    ),
    C(
        "MatrixMultiplication",
        ((40, 150), (1, 40), (150, 1)),
        attributes={"transpose_left": True, "transpose_right": True, "beta": -1.0},
    ),
    C(
        "MatrixMultiplication",
        ((6, 7), (3, 8, 9), (3, 7, 8)),
        attributes={
            "result_rows": 4,
            "result_columns": 5,
            "interior_columns": 3,
            "left_matrix_origin": [1, 2],
            "right_matrix_origin": [2, 1],
            "result_matrix_origin": [1, 1],
        },
    ),
    C(
        "MatrixMultiplication",
        ((3, 5), (5, 7), (3, 7)),
        types=("float16", "float32", "float16"),
        attributes={"beta": 0.5},
    ),
    C("MatrixMultiplication", ((3, 40), (40, 7), (3, 7)), types=("int8", "int8", "int32")),
    C(
        "MatrixMultiplication",
        ((40, 3), (7, 40), (3, 7)),
        types=("int16", "int16", "float32"),
        attributes={"transpose_left": True, "transpose_right": True, "alpha": 0.5, "beta": 2.0},
    ),
    C(
        "MatrixMultiplication",
        ((3, 4), (4, 2), (3, 2)),
        types=("int8", "int8", "float16"),
        attributes={"beta": 1.0},
    ),
    C(
        "MatrixMultiplication",
        ((3, 4), (4, 2), (3, 2)),
        types=("int8", "int8", "int32"),
        attributes={"alpha": 0.5, "beta": 2.0},
    ),
    C("MatrixVectorMultiplication", ((3, 5), (5,), (3,))),
    C(
        "MatrixVectorMultiplication",
        ((3, 5), (6,), (7,)),
        attributes={"transpose": True, "rows": 4, "columns": 3, "alpha": 0.5, "beta": 2.0},
    ),
    C(
        "MatrixVectorMultiplication",
        ((4, 3, 6), (4, 5), (4, 3)),
        attributes={**BATCH, "primary_source_matrix_origin": [1, 2]},
    ),
    C("MatrixVectorMultiplication", ((3, 5), (5,), (3,)), types=HALVES, attributes={"beta": 1.0}),
    C("MatrixVectorMultiplication", ((3, 50), (50,), (3,)), types=("int8", "int8", "int32")),
    C("MatrixVectorMultiplication", ((130, 257), (257,), (130,))),
]
NEURONS = [
    C("MatrixNeuron", ((3, 5), (3, 5), None)),
    *(
        C(
            "MatrixNeuron",
            ((3, 5), (3, 5), (5,)),
            attributes={
                "neuron_type": t,
                "neuron_parameter_a": 0.5,
                "neuron_parameter_b": 0.75,
                "neuron_parameter_c": 2.0,
                "alpha": 1.5,
            },
        )
        for t in range(16)
        if t not in (PRELU, 12, 14)
    ),
    C(
        "MatrixNeuron",
        ((4, 3, 5), (4, 6, 9), None),
        attributes={
            **CURVE,
            **BATCH,
            "result_matrix_origin": [2, 1],
            "source_matrix_origin": [1, 2],
            "source_number_of_feature_vectors": 2,
            "source_input_feature_channels": 3,
        },
    ),
    C(
        "MatrixNeuron",
        ((3, 4), (3, 4), (4,)),
        attributes={"neuron_type": PRELU, "neuron_parameters": [0.5, -1.0, 2.0, 0.0]},
    ),
    C(
        "MatrixNeuron",
        ((3, 4), (3, 4), (4,)),
        types=("float16", "float32", "float16"),
        attributes=NEURON,
    ),
    *(
        C(
            "MatrixNeuron",
            ((3, 4), (3, 4), None),
            types=(t, t),
            attributes={
                "neuron_type": LINEAR,
                "neuron_parameter_a": 3.0,
                "neuron_parameter_b": -1.0,
            },
        )
        for t in ("int8", "int16", "int32", "uint8", "uint16", "uint32")
    ),
    C(
        "MatrixNeuron",
        ((2, 4), (2, 4), (4,)),
        types=("int32", "int32"),
        attributes={"neuron_type": LINEAR, "neuron_parameter_a": 0.5, "alpha": 3.0},
    ),
    *(
        C(
            "MatrixNeuronGradient",
            ((4, 5), (4, 5), (4, 5), (5,), (5,)),
            attributes={
                "neuron_type": t,
                "neuron_parameter_a": 0.5,
                "neuron_parameter_b": 0.75,
                "neuron_parameter_c": 2.0,
                "alpha": 1.5,
            },
        )
        for t in range(16)
        if t not in (PRELU, 12, 14)
    ),
    C(
        "MatrixNeuronGradient",
        ((4, 5), (4, 5), (4, 5), None, None),
        attributes={"neuron_type": PRELU, "neuron_parameters": [0.5, -1.0, 2.0, 0.0, 0.25]},
    ),
    C(
        "MatrixNeuronGradient",
        ((4, 5, 7), (4, 5, 7), (4, 5, 7), (4,), (4,)),
        attributes={
            **CURVE,
            **BATCH,
            **O3,
            "source_number_of_feature_vectors": 2,
            "source_input_feature_channels": 4,
        },
    ),
    C(
        "MatrixNeuronGradient",
        ((4, 5), (4, 5), (4, 5), (5,), (5,)),
        types=HALVES,
        attributes={"neuron_type": SIGMOID},
    ),
]
CONNECTED = [
    C("MatrixFullyConnected", ((3, 4), (4, 5), (3, 5), None)),
    C("MatrixFullyConnected", ((3, 4), (4, 5), (3, 5), (5,)), attributes={**NEURON, "alpha": 0.5}),
    C(
        "MatrixFullyConnected",
        ((6, 7), (8, 9), (5, 6), (6,)),
        attributes={
            **CURVE,
            **O3,
            "source_number_of_feature_vectors": 3,
            "source_input_feature_channels": 4,
            "source_output_feature_channels": 2,
        },
    ),
    C("MatrixFullyConnected", ((4, 3, 4), (4, 5), (4, 3, 5), (5,)), attributes=BATCH),
    C(
        "MatrixFullyConnected",
        ((3, 4), (4, 5), (3, 5), (5,)),
        types=HALVES,
        attributes={"neuron_type": TANH, "neuron_parameter_a": 1.0, "neuron_parameter_b": 1.0},
    ),
    C(
        "MatrixFullyConnectedGradient",
        ((3, 5), (4, 5), (3, 4)),
        "encode_gradient_for_data",
        {"alpha": 0.5},
    ),
    C(
        "MatrixFullyConnectedGradient",
        ((4, 6, 9), (4, 8, 9), (4, 5, 6)),
        "encode_gradient_for_data",
        {
            **O3,
            **BATCH,
            "source_number_of_feature_vectors": 3,
            "source_input_feature_channels": 4,
            "source_output_feature_channels": 2,
        },
    ),
    C(
        "MatrixFullyConnectedGradient",
        ((3, 5), (3, 4), (4, 5), (5,)),
        "encode_gradient_for_weights_and_bias",
        {"alpha": 0.5},
    ),
    C(
        "MatrixFullyConnectedGradient",
        ((3, 5), (3, 4), (4, 5), None),
        "encode_gradient_for_weights_and_bias",
        {},
        HALVES,
    ),
]
NORMALIZATIONS = [
    C(
        "MatrixBatchNormalization",
        ((6, 5), (5,), (5,), (6, 5), None, None),
        attributes={"compute_statistics": True},
    ),
    C(
        "MatrixBatchNormalization",
        ((6, 5), (5,), (5,), (6, 5), (5,), (5,)),
        attributes={**NEURON, "epsilon": 0.25},
    ),
    C(
        "MatrixBatchNormalization",
        ((7, 8), (9,), (9,), (8, 7), (6,), (6,)),
        attributes={
            **CURVE,
            **O2,
            "source_number_of_feature_vectors": 4,
            "source_input_feature_channels": 3,
            "compute_statistics": True,
        },
    ),
    C(
        "MatrixBatchNormalization",
        ((6, 5), (5,), (5,), (6, 5), (5,), (5,)),
        types=HALVES,
        attributes={"epsilon": 0.5},
    ),
    C(
        "MatrixBatchNormalizationGradient",
        ((6, 5), (6, 5), (5,), (5,), (6, 5), None, None, None, None),
        attributes={"epsilon": 0.25},
    ),
    C(
        "MatrixBatchNormalizationGradient",
        ((6, 5), (6, 5), (5,), (5,), (6, 5), (5,), (5,), (5,), (5,)),
        attributes={
            "neuron_type": TANH,
            "neuron_parameter_a": 1.5,
            "neuron_parameter_b": 0.5,
            "epsilon": 0.5,
        },
    ),
    C(
        "MatrixBatchNormalizationGradient",
        ((7, 8), (7, 8), (6,), (6,), (7, 8), (6,), (6,), (6,), (6,)),
        attributes={
            **CURVE,
            **O3,
            "source_number_of_feature_vectors": 4,
            "source_input_feature_channels": 3,
        },
    ),
    C(
        "MatrixBatchNormalizationGradient",
        ((6, 5), (6, 5), (5,), (5,), (6, 5), (5,), (5,), (5,), (5,)),
        types=HALVES,
    ),
]
SOFTMAXES = [
    *(C(k, ((3, 5), (3, 5))) for k in ("MatrixSoftMax", "MatrixLogSoftMax")),
    *(
        C(
            k,
            ((4, 6, 7), (4, 6, 7)),
            attributes={**O2, **BATCH, "source_rows": 3, "source_columns": 4},
        )
        for k in ("MatrixSoftMax", "MatrixLogSoftMax")
    ),
    *(C(k, ((3, 5), (3, 5)), types=HALVES) for k in ("MatrixSoftMax", "MatrixLogSoftMax")),
    *(
        C(k, ((3, 50), (3, 50), (3, 50)))
        for k in ("MatrixSoftMaxGradient", "MatrixLogSoftMaxGradient")
    ),
    *(
        C(
            k,
            ((4, 6, 7), (4, 6, 7), (4, 6, 7)),
            attributes={**O3, **BATCH, "source_rows": 3, "source_columns": 4},
        )
        for k in ("MatrixSoftMaxGradient", "MatrixLogSoftMaxGradient")
    ),
    *(
        C(k, ((3, 5), (3, 5), (3, 5)), types=HALVES)
        for k in ("MatrixSoftMaxGradient", "MatrixLogSoftMaxGradient")
    ),
]
INDEX = ("float32", "uint32", "float32")
SEARCHES = [
    C(
        "MatrixFindTopK",
        ((3, 9), (3, 4), (3, 4)),
        attributes={"number_of_top_k_values": 4},
        types=INDEX,
    ),
    C(
        "MatrixFindTopK",
        ((3, 300), (3, 300), (3, 300)),
        attributes={"number_of_top_k_values": 300, "index_offset": 7},
        types=INDEX,
    ),
    C(
        "MatrixFindTopK",
        ((5, 1000), (5, 16), (5, 16)),
        attributes={"number_of_top_k_values": 16},
        types=("float16", "uint32", "float16"),
    ),
    C(
        "MatrixFindTopK",
        ((4, 6, 9), (4, 6, 9), (4, 6, 9)),
        attributes={
            "number_of_top_k_values": 3,
            "source_rows": 2,
            "source_columns": 5,
            **O2,
            **BATCH,
        },
        types=INDEX,
    ),
    C(
        "MatrixFindTopK",
        ((2, 700), (2, 100), (2, 100)),
        attributes={"number_of_top_k_values": 100},
        types=INDEX,
    ),
]
SUMS = [
    C("MatrixSum", ([(3, 4), (3, 4)], (3, 4), None, None, None), attributes={"count": 2}),
    C(
        "MatrixSum",
        ([(6, 7), (5, 8), (7, 6)], (6, 7), (5,), (10,), (7,)),
        attributes={
            **CURVE,
            "rows": 3,
            "columns": 4,
            "start_index": 2,
            "result_matrix_origin": [1, 2],
        },
        types=("float32", "float32", "float32", "uint32"),
    ),
    C(
        "MatrixSum",
        ([(5, 4), (4, 5)], (3, 4), (2,), None, (4,)),
        attributes={**NEURON, "transpose": True, "rows": 4, "columns": 3},
    ),
    C("MatrixSum", ([(3, 4)] * 5, (3, 4), (5,), None, (4,)), types=HALVES),
]
COPIES = [
    C("MatrixCopy", ([(3, 4)], [(3, 4)], None, None, None)),
    C(
        "MatrixCopy",
        ([(5, 6), (4, 7)], [(6, 5), (7, 8)], None, None, None),
        attributes={"copy_rows": 2, "copy_columns": 3, "offsets": [1, 2, 3, 1, 0, 4, 2, 5]},
    ),
    C(
        "MatrixCopy",
        ([(4, 3)], [(3, 4)], None, None, None),
        attributes={"sources_are_transposed": True},
    ),
    C(
        "MatrixCopy",
        ([(4, 3)], [(3, 4)], None, None, None),
        attributes={"destinations_are_transposed": True},
        types=("float16", "float16"),
    ),
    C(
        "MatrixCopy",
        ([(3, 4), (3, 4)], [(3, 4), (3, 4)], (8,), (5,), (6,)),
        attributes={"row_permute_offset": 2, "column_permute_offset": 2},
        types=("uint8", "uint8", "uint32", "uint32", "uint32"),
    ),
    C(
        "MatrixCopy",
        ([(4, 3)], [(4, 3)], None, (4,), (3,)),
        types=("float32", "int16", "uint32", "uint32", "uint32"),
    ),
]
PIVOTS = ("float32", "float32", "uint32", "int32")
SOLVE = {**O3, "order": 4, "number_of_right_hand_sides": 3}
DECOMPOSITIONS = [
    *(
        C("MatrixDecompositionLU", ((n, n), (n, n), (1, n), (1,)), types=PIVOTS)
        for n in (1, 3, 16, 33, 100, 200)
    ),
    C("MatrixDecompositionLU", ((50, 70), (50, 70), (1, 50), None), types=PIVOTS),
    C("MatrixDecompositionLU", ((70, 50), (70, 50), (1, 50), None), types=PIVOTS),
    C(
        "MatrixDecompositionLU",
        ((4, 9, 9), (4, 9, 9), (4, 2, 5), (2,)),
        attributes={**BATCH, **O2, "rows": 6, "columns": 5},
        types=PIVOTS,
    ),
    C(
        "MatrixDecompositionLU",
        ((9, 9), (9, 9), (1, 9), (1,)),
        types=("float16", "float16", "uint32", "int32"),
    ),
    *(
        C(
            "MatrixDecompositionCholesky",
            ((n, n), (n, n), (1,)),
            attributes={"lower": low},
            types=("float32", "float32", "int32"),
        )
        for n in (1, 3, 33, 100, 300)
        for low in (True, False)
    ),
    C(
        "MatrixDecompositionCholesky",
        ((4, 9, 9), (4, 9, 9), (2,)),
        attributes={**BATCH, **O2, "order": 5},
        types=("float32", "float32", "int32"),
    ),
    C("MatrixDecompositionCholesky", ((9, 9), (9, 9), (1,)), types=("float16", "float16", "int32")),
    *(
        C(
            "MatrixSolveTriangular",
            ((n, n), (6, n) if right else (n, 6), (6, n) if right else (n, 6)),
            attributes={
                "right": right,
                "upper": upper,
                "transpose": transpose,
                "unit": unit,
                "alpha": 0.5,
            },
        )
        for n in (5, 70)
        for right in (False, True)
        for upper in (False, True)
        for transpose in (False, True)
        for unit in (False, True)
    ),
    C("MatrixSolveTriangular", ((4, 7, 8), (4, 7, 8), (4, 7, 8)), attributes={**SOLVE, **BATCH}),
    C("MatrixSolveTriangular", ((5, 5), (5, 600), (5, 600)), types=HALVES),
    *(
        C(
            "MatrixSolveLU",
            ((n, n), (n, 3), (1, n), (n, 3)),
            attributes={"transpose": transpose},
            types=("float32", "float32", "uint32", "float32"),
        )
        for n in (1, 6, 80)
        for transpose in (False, True)
    ),
    C(
        "MatrixSolveLU",
        ((4, 7, 8), (4, 7, 8), (4, 2, 4), (4, 7, 8)),
        attributes={**SOLVE, **BATCH},
        types=("float32", "float32", "uint32", "float32"),
    ),
    *(
        C("MatrixSolveCholesky", ((n, n), (n, 3), (n, 3)), attributes={"upper": upper})
        for n in (1, 6, 80)
        for upper in (False, True)
    ),
    C("MatrixSolveCholesky", ((4, 7, 8), (4, 7, 8), (4, 7, 8)), attributes={**SOLVE, **BATCH}),
]
KERNEL_CASES = [
    *MULTIPLICATIONS,
    *NEURONS,
    *CONNECTED,
    *NORMALIZATIONS,
    *SOFTMAXES,
    *SEARCHES,
    *SUMS,
    *COPIES,
    *DECOMPOSITIONS,
]

CASES: list[Any] = []  # none of nodes
