# SPDX-License-Identifier: MIT
"""Kernels of images: each class, each parameter away from its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cases import Size

ZERO, CLAMP, MIRROR, MIRROR_WITH_EDGE = range(4)  # ImageEdgeMode
HWC, CHW = 0, 1  # DataLayout
NON_PREMULTIPLIED, ALPHA_IS_ONE, PREMULTIPLIED = 0, 1, 2  # AlphaType

SMALL: Size = (2, 5, 7, 3)
PLAIN: Size = (1, 6, 4, 1)
LARGE: Size = (2, 9, 700, 4)  # a row is longer than what a thread takes at once


@dataclass(frozen=True)
class ImageCase:
    """One encode: sizes of what is read, in order, and of what is written."""

    kernel: str
    sources: tuple[tuple[int, ...], ...]
    destination: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    method: str = "encode"
    exact: bool = True  # small whole numbers have the exact result in float32

    @property
    def id(self) -> str:
        """Class, sizes and attributes."""
        sizes = "-".join("x".join(map(str, size)) for size in (*self.sources, self.destination))
        values = ",".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"{self.kernel}[{sizes} {values}]".replace(" ", "")


def like(kernel: str, size: Size, *, exact: bool = True, **attributes: object) -> ImageCase:
    """A kernel whose result has the size of its source."""
    return ImageCase(kernel, (size,), size, attributes, exact=exact)


def windows(kernel: str, *, exact: bool = True, **attributes: object) -> list[ImageCase]:
    """A kernel with offset, clip rectangle and edge mode."""
    return [
        like(kernel, SMALL, exact=exact, **attributes),
        like(kernel, LARGE, exact=exact, edge_mode=CLAMP, **attributes),
        like(kernel, (1, 1, 1, 2), exact=exact, edge_mode=CLAMP, **attributes),
        like(kernel, SMALL, exact=exact, clip_rect=[2, 1, 3, 2], **attributes),
        like(
            kernel, SMALL, exact=exact, offset=[-3, 2], clip_rect=[1, 0, 6, 4], edge_mode=CLAMP,
            **attributes,
        ),
        like(kernel, SMALL, exact=exact, offset=[4, -1], edge_mode=ZERO, **attributes),
        like(kernel, SMALL, exact=exact, offset=[-9, 6], edge_mode=MIRROR, **attributes),
        like(kernel, (1, 1, 2, 1), exact=exact, edge_mode=MIRROR, **attributes),
        like(kernel, SMALL, exact=exact, offset=[5, -7], edge_mode=MIRROR_WITH_EDGE, **attributes),
        ImageCase(
            kernel, (SMALL,), (2, 3, 11, 3), {"offset": [1, 1], **attributes}, exact=exact
        ),
    ]  # fmt: skip


COPIES = [
    *(
        ImageCase("MatrixCopyToImage", ((3, rows, columns),), size, {"data_layout": layout})
        for layout in (HWC, CHW)
        for rows, columns, size in [(2, 105, SMALL), (4, 26, PLAIN)]
    ),
    ImageCase(
        "MatrixCopyToImage",
        ((3, 5, 120),),
        SMALL,
        {"source_matrix_origin": [2, 7], "source_matrix_batch_index": 1, "data_layout": HWC},
    ),
    *(
        ImageCase("ImageCopyToMatrix", (size,), (3, rows, columns), {"data_layout": layout})
        for layout in (HWC, CHW)
        for rows, columns, size in [(2, 105, SMALL), (4, 26, PLAIN)]
    ),
    ImageCase(
        "ImageCopyToMatrix",
        (SMALL,),
        (3, 5, 120),
        {"destination_matrix_origin": [1, 9], "destination_matrix_batch_index": 2},
    ),
    ImageCase("ChannelConcatenation", (SMALL, (2, 5, 7, 1), (2, 5, 7, 4)), (2, 5, 7, 8)),
    ImageCase("ChannelConcatenation", (PLAIN, PLAIN), (1, 6, 4, 2)),
    ImageCase("ChannelConcatenation", (SMALL,), SMALL),
    ImageCase("Slice", (SMALL,), SMALL),
    ImageCase(
        "Slice",
        (SMALL,),
        (2, 4, 4, 2),
        {"offset": [3, 1], "clip_rect": [1, 2, 3, 2], "source_feature_channel_offset": 1},
    ),
    ImageCase("ImageTranspose", (SMALL,), (2, 7, 5, 3)),
    ImageCase("ImageTranspose", (PLAIN,), (1, 4, 6, 1)),
]

CONVERSIONS = [
    *windows("ImageConversion"),
    *(
        like(
            "ImageConversion",
            (2, 4, 5, 4),
            exact=False,
            source_alpha=source,
            destination_alpha=destination,
            **more,
        )
        for source, destination in [(0, 2), (2, 0), (0, 1), (2, 1), (1, 0), (1, 2)]
        for more in ({}, {"background_color": [1.0, -2.0, 0.5], "clip_rect": [1, 1, 3, 2]})
    ),
]

TRANSFORMS = [[1.0, 1.0, -2.0, -1.0], [2.0, 0.5, 1.5, -0.25], [0.75, 3.0, -20.0, 30.0]]
SCALES = [
    ImageCase(kernel, (source,), (source[0], *size, source[3]), attributes, exact=False)
    for kernel in ("ImageBilinearScale", "ImageLanczosScale")
    for source, size in [(SMALL, (10, 4)), (SMALL, (3, 14)), (PLAIN, (1, 1)), (LARGE, (9, 300))]
    for attributes in (
        {},
        {"scale_transform": TRANSFORMS[0]},
        *([{"scale_transform": t, "clip_rect": [1, 0, 2, 3]} for t in TRANSFORMS[1:]]
          if size == (10, 4) else []),
    )
]  # fmt: skip
SCALES += [
    ImageCase(
        "ResizeBilinear",
        (SMALL,),
        (2, height, width, 3),
        {"resize_width": width, "resize_height": height, "align_corners": align},
        exact=False,
    )
    for height, width in [(5, 7), (1, 1), (3, 14), (10, 4)]
    for align in (False, True)
]
SCALES += [
    ImageCase(
        "CropAndResizeBilinear",
        (SMALL,),
        (2 * len(regions) // 4, height, width, 3),
        {"resize_width": width, "resize_height": height, "regions": regions},
        exact=False,
    )
    for height, width in [(4, 3), (1, 5), (6, 1)]
    for regions in ([0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.25, -0.5, 0.1, 2.0, 1.5])
]

WEIGHTS = [1.0, -2.0, 3.0, 0.0, 5.0, -1.0, 2.0, 4.0, -3.0, 1.0, 0.0, 2.0, -4.0, 1.0, 3.0]
GREY = (2, 5, 7, 1)
FILTERS = [
    *windows("ImageConvolution", kernel_width=5, kernel_height=3, weights=WEIGHTS, bias=2.0),
    like("ImageConvolution", SMALL, kernel_width=1, kernel_height=3, weights=[1.0, 2.0, -1.0]),
    *windows("ImageLaplacian"),
    like("ImageLaplacian", PLAIN, bias=1.0),
    *windows("ImageGaussianBlur", exact=False, sigma=1.5),
    like("ImageGaussianBlur", LARGE, exact=False, sigma=0.3),
    *windows("ImageBox", exact=False, kernel_width=5, kernel_height=3),
    like("ImageBox", SMALL, exact=False, kernel_width=1, kernel_height=9, edge_mode=CLAMP),
    *windows("ImageTent", exact=False, kernel_width=3, kernel_height=7),
    *windows("ImageSobel", exact=False),
    ImageCase("ImageSobel", (SMALL,), GREY, exact=False),
    ImageCase(
        "ImageSobel", (SMALL,), GREY, {"color_transform": [1.0, 0.0, -0.5], "edge_mode": CLAMP},
        exact=False,
    ),
]  # fmt: skip

STATISTICS = [
    ImageCase(f"ImageStatistics{kind}", (size,), (size[0], 2, 3, size[3]), attributes, exact=exact)
    for kind, exact in [("MinAndMax", True), ("MeanAndVariance", False), ("Mean", False)]
    for size in (SMALL, LARGE, (1, 6, 4, 1))
    for attributes in ({}, {"clip_rect_source": [1, 2, 3, 2]})
]

REDUCTIONS = [
    ImageCase(
        f"ImageReduce{axis}{kind}",
        (size,),
        (size[0], rows if axis == "Row" else 1, 1 if axis == "Row" else columns, size[3]),
        {"clip_rect_source": clip} if clip else {},
        exact=kind != "Mean",
    )
    for axis in ("Row", "Column")
    for kind in ("Min", "Max", "Mean", "Sum")
    for size, clip, rows, columns in [
        (SMALL, None, 5, 7),
        (SMALL, [1, 2, 4, 3], 3, 4),
        (LARGE, None, 9, 700),
    ]
]

SCALED = {"primary_scale": 2.0, "secondary_scale": -3.0, "bias": 1.0}
ARITHMETIC = [
    ImageCase(kernel, (first, second), result, attributes, exact=kernel != "ImageDivide")
    for kernel in ("ImageAdd", "ImageSubtract", "ImageMultiply", "ImageDivide")
    for first, second, result, attributes in [
        (SMALL, SMALL, SMALL, {}),
        (SMALL, SMALL, SMALL, SCALED),
        (SMALL, SMALL, SMALL, {"minimum_value": -3.0, "maximum_value": 4.0, **SCALED}),
        (SMALL, (1, 5, 7, 3), SMALL, {}),
        (SMALL, GREY, SMALL, {"secondary_stride_in_feature_channels": 0}),
        (GREY, SMALL, SMALL, {"primary_stride_in_feature_channels": 0}),
        (
            SMALL,
            SMALL,
            SMALL,
            {
                "primary_stride_in_pixels": [0, 1],
                "primary_offset": [3, 0],
                "secondary_stride_in_pixels": [1, 0],
                "secondary_offset": [0, 4],
            },
        ),
        (
            SMALL,
            SMALL,
            (2, 6, 8, 3),
            {
                "primary_offset": [-1, 2],
                "secondary_offset": [2, -2],
                "primary_edge_mode": CLAMP,
                "secondary_edge_mode": CLAMP,
                "clip_rect": [1, 1, 6, 4],
            },
        ),
        (
            SMALL,
            SMALL,
            (2, 6, 8, 3),
            {
                "primary_offset": [-2, 3],
                "secondary_offset": [2, -2],
                "primary_edge_mode": MIRROR,
                "secondary_edge_mode": MIRROR_WITH_EDGE,
            },
        ),
    ]
]
ARITHMETIC += [
    ImageCase(kernel, (SMALL, SMALL), (2, 6, 8, 3), {"secondary_offset": [2, -2], **SCALED})
    for kernel in ("ImageAdd", "ImageSubtract", "ImageMultiply")
]

SAMPLING = [
    ImageCase("GridSample", (SMALL, (2, 4, 6, 2)), (2, 4, 6, 3), attributes, exact=False)
    for attributes in (
        {},
        {"edge_mode": CLAMP},
        {"use_grid_value_as_input_coordinate": False},
        {"use_grid_value_as_input_coordinate": False, "edge_mode": CLAMP},
    )
]
SAMPLING += [
    ImageCase(
        "LocalCorrelation",
        (SMALL, SMALL),
        (*SMALL[:3], (2 * x + 1) * (2 * y + 1)),
        {"window_in_x": x, "window_in_y": y, "stride_in_x": stride_x, "stride_in_y": stride_y},
    )
    for x, y, stride_x, stride_y in [(0, 0, 1, 1), (2, 1, 1, 1), (1, 3, 2, 3), (9, 1, 1, 2)]
]

KERNEL_CASES = [
    *COPIES,
    *CONVERSIONS,
    *SCALES,
    *FILTERS,
    *STATISTICS,
    *REDUCTIONS,
    *ARITHMETIC,
    *SAMPLING,
]
