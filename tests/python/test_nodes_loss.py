# SPDX-License-Identifier: MIT
"""Loss nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from case_nets import source_arrays, values
from cases import NONE, SOFT_MAX, SUM, Case
from cases.loss import CASES, LOSSES, case
from node_tests import Run, check_forward, check_gradients, encode, runs
from oracles import Doubles, pull_back
from oracles.loss import loss, undivided

import mpsnn as mps


@pytest.mark.parametrize("run", runs(CASES), ids=lambda run: run.id)
def test_forward(device: mps.Device, run: Run) -> None:
    check_forward(device, run)


@pytest.mark.parametrize("run", runs(CASES, gradients=True), ids=lambda run: run.id)
def test_gradients(device: mps.Device, run: Run) -> None:
    check_gradients(device, run)


@pytest.mark.parametrize("loss_type", list(mps.LossType), ids=lambda kind: kind.name)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_labels(
    device: mps.Device, loss_type: mps.LossType, *, weighted: bool
) -> None:
    if weighted and loss_type == mps.LossType.COSINE_DISTANCE:
        pytest.skip("a cosine distance has no weights image")
    options = {"label_smoothing": 0.25, "number_of_classes": 4, "delta": 0.5, "weight": 0.75}
    tested = case(
        (2, 3, 4, 5), loss_type=int(loss_type), reduction_type=SUM, weighted=weighted, **options
    )
    arrays = source_arrays(tested, integers=False)
    gradient = values(tested, (2, 1, 1, 1), "gradient", integers=False)
    images = [mps.ImageNode(name) for name in ("gradient", *arrays)]
    descriptor = mps.LossDescriptor(loss_type, mps.ReductionType.SUM, **options)  # type: ignore[arg-type]
    node = mps.LossGradientNode(
        *images[:3],
        descriptor,
        weights=images[3] if weighted else None,
        is_labels_gradient=True,
    )
    got = encode(device, mps.Graph(device, [node.result_image]), {**arrays, "gradient": gradient})[
        0
    ]
    doubles = [array.astype(np.float64) for array in arrays.values()]
    expected = np.asarray(pull_back(loss, tested, doubles, {}, gradient.astype(np.float64))[0][1])
    np.testing.assert_allclose(np.asarray(got), expected, rtol=2e-6, atol=2e-6)


def test_a_gradient_of_the_weights_needs_them_alone() -> None:
    g, y, t, w = (mps.ImageNode(name) for name in "gytw")
    descriptor = mps.LossDescriptor(mps.LossType.HUBER, mps.ReductionType.SUM)
    node = mps.LossGradientNode(g, y, t, descriptor, weights=w, is_weights_gradient=True)
    assert node.is_weights_gradient
    with pytest.raises(mps.InvalidArgumentError, match="weights: expected an image where is_we"):
        mps.LossGradientNode(g, y, t, descriptor, is_weights_gradient=True)
    with pytest.raises(mps.InvalidArgumentError, match="is_weights_gradient: expected false"):
        mps.LossGradientNode(
            g, y, t, descriptor, weights=w, is_labels_gradient=True, is_weights_gradient=True
        )


SOFT_MAX_CASES = [
    tested
    for tested in LOSSES
    if tested.attributes["loss_type"] == SOFT_MAX
    and tested.attributes["reduction_type"] != NONE
    and len(tested.sources) == 2
    and tested.attributes.get("number_of_classes", 1) in (1, tested.sources[0][3])
]


@pytest.mark.parametrize("tested", SOFT_MAX_CASES, ids=lambda tested: tested.id)
def test_softmax_derivative_is_true_where_labels_add_up_to_one(tested: Case) -> None:
    attributes = {**tested.attributes, "reduction_type": SUM}
    attributes.pop("reduce_across_batch", None)
    summed = Case(tested.node, tested.sources, attributes, ranges=tested.ranges)
    doubles = [a.astype(np.float64) for a in source_arrays(tested, integers=False).values()]
    ones = np.ones((tested.sources[0][0], 1, 1, 1))
    true, apple = (pull_back(f, summed, doubles, {}, ones)[0][0] for f in (loss, undivided))
    np.testing.assert_allclose(true, apple, rtol=1e-6, atol=1e-7)


def one_value(
    device: mps.Device, loss_type: mps.LossType, y: float, t: float
) -> tuple[float, float]:
    """A loss of one value, and its derivative."""
    images = [mps.ImageNode(name) for name in "yt"]
    node = mps.ForwardLossNode(
        *images, mps.LossDescriptor(loss_type, mps.ReductionType.SUM, delta=1.0)
    )
    last = mps.InitialGradientNode(node).training_graph()[0]
    graph = mps.Graph(device, [node.result_image, last.result_image])
    arrays = {
        name: np.full((1, 1, 1, 1), value, np.float32) for name, value in (("y", y), ("t", t))
    }
    value, slope = (np.asarray(image).item() for image in encode(device, graph, arrays))
    return value, slope


@pytest.mark.parametrize(
    ("name", "y", "t", "value", "slope"),
    [
        # Where Apple's headers contradict themselves, and where formulas have no limit.
        ("HINGE", -0.2, 0.9, 1.16, -0.8),
        ("HINGE", 2.0, 1.0, 0.0, 0.0),
        ("HINGE", 0.5, 0.0, 1.5, 1.0),
        ("HUBER", 0.5, 1.0, 0.125, -0.5),
        ("HUBER", -2.0, 1.0, 2.5, -1.0),
        ("HUBER", 3.0, 1.0, 1.5, 1.0),
        ("KULLBACK_LEIBLER_DIVERGENCE", -1.0, 0.5, 0.5 * (np.log(0.5) + 1), -0.5),
        ("KULLBACK_LEIBLER_DIVERGENCE", -1.0, 0.0, 0.0, 0.0),
        ("CATEGORICAL_CROSS_ENTROPY", 0.0, 0.0, 0.0, 0.0),
        ("CATEGORICAL_CROSS_ENTROPY", 0.0, 1.0, np.inf, -np.inf),
        ("MEAN_ABSOLUTE_ERROR", 1.0, 1.0, 0.0, 0.0),
        ("COSINE_DISTANCE", 0.5, 1.0, 0.5, -1.0),
        ("SIGMOID_CROSS_ENTROPY", 100.0, 0.0, 100.0, 1.0),
        ("SIGMOID_CROSS_ENTROPY", -100.0, 0.0, 0.0, 0.0),
        ("LOG", 1.0, 1.0, -np.log(1 + 1e-7), -1.0),
        ("MEAN_SQUARED_ERROR", np.nan, 1.0, np.nan, np.nan),
        ("SOFT_MAX_CROSS_ENTROPY", np.nan, 1.0, np.nan, np.nan),
    ],
)
def test_known_values(
    device: mps.Device, name: str, y: float, t: float, value: float, slope: float
) -> None:
    got = one_value(device, mps.LossType[name], y, t)
    np.testing.assert_allclose(got, (value, slope), rtol=1e-6, atol=1e-7)


CORNERS = (np.nan, np.inf, -np.inf, 0.0, 1.0, 1e30, -1e30)
Formula = Callable[[Doubles, Doubles], Doubles]


def times(factor: Doubles, x: Doubles) -> Doubles:
    """The product; 0 where the factor is."""
    return np.where(factor == 0, 0.0, factor * x)


def margin(y: Doubles, t: Doubles) -> Doubles:
    """The hinge's."""
    return 1 - (2 * t - 1) * y


# The page's formulas in float64; the softmax has one channel.
VALUES: dict[str, Formula] = {
    "MEAN_ABSOLUTE_ERROR": lambda y, t: np.abs(y - t),
    "MEAN_SQUARED_ERROR": lambda y, t: (y - t) ** 2,
    "SOFT_MAX_CROSS_ENTROPY": lambda y, t: -times(t, y - y),
    "SIGMOID_CROSS_ENTROPY": lambda y, t: (
        np.maximum(y, 0) - times(t, y) + np.log1p(np.exp(-np.abs(y)))
    ),
    "CATEGORICAL_CROSS_ENTROPY": lambda y, t: -times(t, np.log(y)),
    "HINGE": lambda y, t: np.maximum(margin(y, t), 0),
    "HUBER": lambda y, t: np.where(np.abs(y - t) <= 1, (y - t) ** 2 / 2, np.abs(y - t) - 0.5),
    "COSINE_DISTANCE": lambda y, t: 1 - times(t, y),
    "LOG": lambda y, t: -times(t, np.log(y + 1e-7)) - times(1 - t, np.log(1 - y + 1e-7)),
    "KULLBACK_LEIBLER_DIVERGENCE": lambda y, t: times(t, np.log(t) - y),
}
SLOPES: dict[str, Formula] = {
    "MEAN_ABSOLUTE_ERROR": lambda y, t: np.sign(y - t),
    "MEAN_SQUARED_ERROR": lambda y, t: 2 * (y - t),
    "SOFT_MAX_CROSS_ENTROPY": lambda y, t: np.exp(y - y) - t,
    "SIGMOID_CROSS_ENTROPY": lambda y, t: 1 / (1 + np.exp(-y)) - t,
    "CATEGORICAL_CROSS_ENTROPY": lambda y, t: times(-t, 1 / y),
    "HINGE": lambda y, t: np.where(
        np.isnan(margin(y, t)), np.nan, np.where(margin(y, t) > 0, 1 - 2 * t, 0.0)
    ),
    "HUBER": lambda y, t: np.clip(y - t, -1, 1),
    "COSINE_DISTANCE": lambda _, t: -t,
    "LOG": lambda y, t: times(-t, 1 / (y + 1e-7)) + times(1 - t, 1 / (1 - y + 1e-7)),
    "KULLBACK_LEIBLER_DIVERGENCE": lambda _, t: -t,
}


@pytest.mark.parametrize("kind", list(mps.LossType), ids=lambda kind: kind.name)
def test_corner_values(device: mps.Device, kind: mps.LossType) -> None:
    """NaN, infinities, 0, 1 and huge numbers, each with each, one an image."""
    y, t = (a.reshape(-1, 1, 1, 1) for a in np.meshgrid(CORNERS, CORNERS))
    images = [mps.ImageNode(name) for name in "yt"]
    node = mps.ForwardLossNode(*images, mps.LossDescriptor(kind, mps.ReductionType.SUM))
    last = mps.InitialGradientNode(node).training_graph()[0]
    graph = mps.Graph(device, [node.result_image, last.result_image])
    arrays = {"y": y.astype(np.float32), "t": t.astype(np.float32)}
    got = encode(device, graph, arrays)
    with np.errstate(all="ignore"):
        expected = VALUES[kind.name](y, t), SLOPES[kind.name](y, t)
        for name, image, double in zip(("value", "slope"), got, expected, strict=True):
            single = double.astype(np.float32)
            array = np.asarray(image)
            np.testing.assert_allclose(array, single, rtol=2e-6, atol=1e-7, err_msg=name)


def test_apple_values_of_the_forward_loss(device: mps.Device) -> None:
    """Sums and means over an image of three values: 3 · 200, 200; squared 40000; weight halves."""
    images = [mps.ImageNode(name) for name in "yt"]
    arrays = {
        "y": np.full((1, 1, 1, 3), 800, np.float32),
        "t": np.full((1, 1, 1, 3), 1000, np.float32),
    }
    for kind, reduction, weight, expected in [
        ("MEAN_ABSOLUTE_ERROR", "SUM", 1.0, 600.0),
        ("MEAN_ABSOLUTE_ERROR", "MEAN", 1.0, 200.0),
        ("MEAN_SQUARED_ERROR", "MEAN", 1.0, 40000.0),
        ("MEAN_SQUARED_ERROR", "MEAN", 0.5, 20000.0),
    ]:
        descriptor = mps.LossDescriptor(
            mps.LossType[kind], mps.ReductionType[reduction], weight=weight
        )
        node = mps.ForwardLossNode(*images, descriptor)
        got = encode(device, mps.Graph(device, [node.result_image]), arrays)[0]
        assert np.asarray(got).item() == expected


def test_a_cosine_distance_is_of_the_whole_image() -> None:
    x, y, w = (mps.ImageNode(name) for name in "xyw")
    mean = mps.LossDescriptor(mps.LossType.COSINE_DISTANCE, mps.ReductionType.MEAN)
    with pytest.raises(mps.InvalidArgumentError, match="reduction_type: expected SUM"):
        mps.ForwardLossNode(x, y, mean)
    total = mps.LossDescriptor(mps.LossType.COSINE_DISTANCE, mps.ReductionType.SUM)
    with pytest.raises(mps.InvalidArgumentError, match="weights: expected none"):
        mps.ForwardLossNode(x, y, total, weights=w)


@pytest.mark.parametrize("kind", ["loss", "yolo"])
def test_a_training_graph_starts_at_a_loss_node(device: mps.Device, kind: str) -> None:
    x, labels = mps.ImageNode("x"), mps.ImageNode("labels")
    relu = mps.NeuronReLUNode(x)
    shape = (2, 3, 4, 12)
    tested = Case("", (shape, shape), ranges=("any", "boxes2" if kind == "yolo" else "any"))
    arrays = source_arrays(tested, integers=False)
    given = {"x": np.abs(arrays["source0"]), "labels": arrays["source1"]}
    node: mps.FilterNode
    if kind == "yolo":
        node = mps.YOLOLossNode(relu, labels, mps.YOLOLossDescriptor([1.0, 2.0, 2.0, 1.0]))
    else:
        node = mps.LossNode(relu, labels, mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR))
    (last,) = node.training_graph()
    assert isinstance(last, mps.NeuronGradientNode)
    direct, through = encode(
        device, mps.Graph(device, [node.result_image, last.result_image]), given
    )
    # The derivative of a ReLU above 0 is 1.
    np.testing.assert_array_equal(np.asarray(direct), np.asarray(through))
    with pytest.raises(mps.InvalidArgumentError, match="a node that has a derivative"):
        node.gradient_filter(x)


BAD_BOXES = {
    "none": ([], r"anchor_boxes: expected a width and a height for each anchor, got 0 values"),
    "odd": ([1.0, 2.0, 3.0], "anchor_boxes: expected a width and a height"),
    "zero": ([1.0, 0.0], "anchor_boxes: expected extents above 0, got 0"),
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_bad_anchors(name: str) -> None:
    boxes, text = BAD_BOXES[name]
    with pytest.raises(mps.InvalidArgumentError, match=text):
        mps.YOLOLossNode(mps.ImageNode("x"), mps.ImageNode("t"), mps.YOLOLossDescriptor(boxes))


def test_channels_must_be_those_of_the_anchors(device: mps.Device) -> None:
    descriptor = mps.YOLOLossDescriptor([1.0, 1.0, 2.0, 2.0])
    node = mps.YOLOLossNode(mps.ImageNode("x"), mps.ImageNode("t"), descriptor)
    array = np.zeros((1, 2, 2, 10), np.float32)
    with pytest.raises(
        mps.InvalidArgumentError, match="source: expected feature channels for 2 anchors of 5"
    ):
        encode(device, mps.Graph(device, [node.result_image]), {"x": array, "t": array})
    descriptor.xy_loss_type = mps.LossType.HINGE
    with pytest.raises(mps.UnsupportedError, match="xy_loss_type: expected"):
        mps.YOLOLossNode(mps.ImageNode("x"), mps.ImageNode("t"), descriptor)


def test_a_yolo_descriptor_is_what_the_node_has() -> None:
    descriptor = mps.YOLOLossDescriptor(
        [1.0, 2.0], xy_loss_type=mps.LossType.HUBER, delta=0.5, scale_xy=3.0, rescore=False
    )
    same = mps.YOLOLossDescriptor([1.0, 2.0], xy_loss_type=mps.LossType.HUBER, delta=0.5)
    assert descriptor != same
    same.scale_xy, same.rescore = 3.0, False
    assert descriptor == same
    node = mps.YOLOLossNode(mps.ImageNode("x"), mps.ImageNode("t"), descriptor)
    assert (node.anchor_boxes, node.delta, node.scale_xy) == ([1.0, 2.0], 0.5, 3.0)
    assert (node.xy_loss_type, node.rescore) == (mps.LossType.HUBER, False)
    assert (node.scale_object, node.minimum_iou_for_object_presence) == (100.0, 0.7)
    with pytest.raises(mps.ArgumentTypeError, match="expected a YOLOLossDescriptor, got list"):
        mps.YOLOLossNode(mps.ImageNode("x"), mps.ImageNode("t"), [1.0, 2.0])  # type: ignore[arg-type]
