# SPDX-License-Identifier: MIT
"""Losses: types, reductions, their parameters, weights image; and where gradients start."""

from __future__ import annotations

from cases import (
    ABSOLUTE,
    CATEGORICAL,
    COSINE,
    DIVERGENCE,
    HINGE,
    HUBER,
    LOG,
    MEAN,
    NON_ZERO,
    NONE,
    SIGMOID,
    SOFT_MAX,
    SQUARED,
    SUM,
    Case,
    Size,
)

SIZES: list[Size] = [(1, 1, 1, 1), (1, 4, 8, 1), (3, 5, 7, 3), (2, 8, 4, 16)]

# Ranges of predictions and labels.
RANGES = {
    SOFT_MAX: ("any", "distribution"),
    SIGMOID: ("any", "probability"),
    CATEGORICAL: ("probability", "distribution"),
    HINGE: ("any", "binary"),
    LOG: ("probability", "probability"),
    DIVERGENCE: ("negative", "distribution"),
}


def case(size: Size, *, weighted: bool = False, **attributes: float) -> Case:
    """A loss; MEAN is exact only where the count is a power of two."""
    count = size[1] * size[2] * size[3]
    if attributes.get("reduce_across_batch"):
        count *= size[0]
    exact = attributes.get("reduction_type", MEAN) != MEAN or count & (count - 1) == 0
    kind = int(attributes["loss_type"])
    exact = exact and kind in (ABSOLUTE, SQUARED) and attributes["reduction_type"] != NON_ZERO
    return Case(
        "ForwardLossNode",
        (size,) * (3 if weighted else 2),
        attributes,
        exact=exact,
        ranges=RANGES.get(kind, ()),
    )


ERRORS = (
    [
        case(size, loss_type=loss_type, reduction_type=reduction, weighted=weighted)
        for size in SIZES
        for loss_type in (ABSOLUTE, SQUARED)
        for reduction in (NONE, SUM, MEAN)
        for weighted in (False, True)
    ]
    + [
        case(
            (3, 5, 7, 3),
            loss_type=loss_type,
            reduction_type=reduction,
            weight=weight,
            weighted=weighted,
        )
        for loss_type in (ABSOLUTE, SQUARED)
        for reduction in (NONE, SUM)
        for weight, weighted in [(0.25, False), (-2.0, True)]
    ]
    + [Case("ForwardLossNode", ((1, 4, 8, 1),) * 2, {"loss_type": SQUARED})]
)

OTHERS = [
    case(size, loss_type=loss_type, reduction_type=reduction, weight=0.5, weighted=weighted)
    for loss_type in (SOFT_MAX, SIGMOID, CATEGORICAL, HINGE, HUBER, LOG, DIVERGENCE)
    for size, reduction, weighted in [
        ((1, 1, 1, 10), SUM, False),
        ((3, 5, 7, 3), MEAN, False),
        ((2, 8, 4, 16), NONE, True),
        ((2, 3, 5, 6), NON_ZERO, True),
    ]
] + [case((4, 3, 5, 7), loss_type=COSINE, reduction_type=SUM, weight=0.5)]

PARAMETERS = [
    case(
        (2, 3, 5, 4),
        loss_type=SOFT_MAX,
        reduction_type=SUM,
        label_smoothing=0.25,
        number_of_classes=4,
    ),
    case((2, 3, 5, 4), loss_type=SOFT_MAX, reduction_type=NONE, label_smoothing=0.5),
    case((2, 1, 1, 1500), loss_type=SOFT_MAX, reduction_type=MEAN, weight=2.0),
    case((1, 1, 2, 2100), loss_type=SOFT_MAX, reduction_type=NONE),
    case((2, 3, 5, 4), loss_type=SIGMOID, reduction_type=SUM, label_smoothing=0.25),
    case((2, 3, 5, 4), loss_type=HUBER, reduction_type=SUM, delta=0.25),
    case((2, 3, 5, 4), loss_type=HUBER, reduction_type=MEAN, delta=2.5),
    case((2, 3, 5, 4), loss_type=LOG, reduction_type=SUM, epsilon=0.125),
]

ACROSS = [
    case(
        (4, 3, 5, 4),
        loss_type=loss_type,
        reduction_type=reduction,
        reduce_across_batch=True,
        weighted=weighted,
    )
    for loss_type, reduction, weighted in [
        (ABSOLUTE, SUM, False),
        (SQUARED, MEAN, False),
        (SOFT_MAX, MEAN, False),
        (SIGMOID, NON_ZERO, True),
        (SOFT_MAX, NON_ZERO, True),
        (SQUARED, NON_ZERO, False),
        (COSINE, SUM, False),
    ]
]

STARTS = [
    Case("InitialGradientNode", (size,), differentiable=False)
    for size in [(1, 1, 1, 1), (3, 5, 7, 3)]
]

GRADIENTS = [
    Case(
        "LossNode",
        (size,) * (3 if weighted else 2),
        {"loss_type": loss_type, "reduction_type": reduction, **options},
        exact=False,
        differentiable=False,
        ranges=RANGES.get(loss_type, ()),
    )
    for size, loss_type, reduction, weighted, options in [
        ((3, 5, 7, 3), SQUARED, MEAN, False, {}),
        ((2, 3, 5, 6), SQUARED, NONE, True, {"weight": 0.5}),
        ((2, 3, 5, 6), SOFT_MAX, SUM, True, {"label_smoothing": 0.25, "number_of_classes": 6}),
        ((1, 1, 1, 10), SIGMOID, SUM, False, {"reduce_across_batch": True}),
        ((2, 3, 5, 4), HUBER, SUM, False, {"delta": 0.25}),
        ((2, 3, 5, 4), LOG, SUM, False, {"epsilon": 0.125}),
        ((2, 3, 5, 4), COSINE, SUM, False, {}),
    ]
]

ANCHORS = [0.75, 1.0, 2.0, 1.5, 1.0, 3.0]


def yolo(cells: tuple[int, int, int], anchors: int, classes: int, **attributes: float) -> Case:
    """The loss of boxes with an object in some of the cells."""
    size = (*cells, anchors * (5 + classes))
    given = {"anchor_boxes": ANCHORS[: 2 * anchors], **attributes}
    boxes = f"boxes{anchors}"
    return Case(
        "YOLOLossNode",
        (size, size),
        given,
        exact=False,
        differentiable=False,
        ranges=("any", boxes),
    )


BOXES = [
    yolo(cells, anchors, classes, computes_loss=computes_loss)
    for cells, anchors, classes in [((1, 1, 1), 1, 1), ((2, 3, 4), 2, 3), ((3, 5, 5), 3, 7)]
    for computes_loss in (False, True)
] + [
    yolo((2, 4, 3), 3, 2, computes_loss=computes_loss, **options)
    for options in [
        {"xy_loss_type": ABSOLUTE, "wh_loss_type": SQUARED, "classes_loss_type": SIGMOID},
        {"xy_loss_type": HUBER, "delta": 0.25, "weight": -0.5, "reduction_type": MEAN},
        {"scale_xy": 1.0, "scale_wh": 2.0, "scale_no_object": 3.0, "scale_object": 4.0},
        {"scale_class": 5.0, "rescore": False},
        {"minimum_iou_for_object_presence": 0.05, "maximum_iou_for_object_absence": 0.01},
    ]
    for computes_loss in (False, True)
]

LOSSES = ERRORS + OTHERS + PARAMETERS + ACROSS
CASES = LOSSES + GRADIENTS + BOXES + STARTS
