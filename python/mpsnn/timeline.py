# SPDX-License-Identifier: MIT
"""The picture of a captured timeline: what the host did, what the device did, where it starved.

A lane a thread of the host and a lane a queue. Bars of the host are encoding, commits, waits and
handlers; those of a queue are kernels, coloured by operation, below the pieces that they came in.
White between two kernels is time in which the queue had nothing to do. Kernels that a predicate
skipped are marked with a cross.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mpsnn._core import InvalidArgumentError, SpanKind
from mpsnn.files import atomic_path, optional_module

HOST_KINDS = (SpanKind.ENCODE, SpanKind.COMMIT, SpanKind.WAIT, SpanKind.HANDLER)
WORK_KINDS = (SpanKind.KERNEL, SpanKind.HOST_FUNCTION)

# Okabe and Ito's palette, told apart by colour-blind readers; encode and commit take two of it.
HOST_COLOURS = {"encode": "#E69F00", "commit": "#000000", "wait": "#DDDDDD", "handler": "#882255"}
WORK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#F0E442", "#56B4E9", "#CC79A7")
OTHER_COLOUR = "#999999"
HOST_FUNCTION = "host function"
OTHERS = "other kernels"

# Bars of the host are at least this part of the picture wide: a commit takes microseconds.
VISIBLE_SHARE = 0.0008
INCHES_WIDE, INCHES_A_ROW, DOTS_AN_INCH = 13.0, 0.34, 130
CHARACTER_INCHES = 0.062


class Span(Protocol):
    """One thing that took time: what is read of `mpsnn.Span`.

    Attributes:
        kind: What took time.
        lane: Which thread or queue: "host 1", "cpu: training".
        name: What was at work: a node's label.
        start_ns: Begin in nanoseconds since the capture began.
        end_ns: End, likewise.
        commands: Label of the command buffer.
        kernel: Name of the kernel's row: "convolution/onednn".
        skipped: A predicate switched the kernel off.
    """

    @property
    def kind(self) -> SpanKind: ...  # noqa: D102
    @property
    def lane(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def start_ns(self) -> int: ...  # noqa: D102
    @property
    def end_ns(self) -> int: ...  # noqa: D102
    @property
    def commands(self) -> str: ...  # noqa: D102
    @property
    def kernel(self) -> str: ...  # noqa: D102
    @property
    def skipped(self) -> bool: ...  # noqa: D102


@dataclass
class Lane:
    """The bars of one thread or queue.

    Attributes:
        name: The spans' lane.
        host: True: a thread of the host; False: a queue.
        rows: Spans that do not overlap within a row; what is done inside of another span stands
            in a row below it. A queue's pieces come first.
        skipped: Kernels that were switched off.
    """

    name: str
    host: bool
    rows: list[list[Span]] = field(default_factory=list)
    skipped: list[Span] = field(default_factory=list)


@dataclass
class Layout:
    """Where everything goes, before anything is drawn.

    Attributes:
        lanes: The host's threads, then the queues, each in the order of their first spans.
        start_ns: Begin of the first span.
        end_ns: End of the last one.
        busy_ns: Time in which at least one kernel or host function ran.
        colours: A colour for each of the costliest operations, by name; the others share one.
    """

    lanes: list[Lane]
    start_ns: int
    end_ns: int
    busy_ns: int
    colours: dict[str, str]

    @property
    def total_ns(self) -> int:
        """From the first begin to the last end."""
        return self.end_ns - self.start_ns

    @property
    def busy_share(self) -> float:
        """Part of the time in which the device was at work, 0 to 1."""
        return self.busy_ns / self.total_ns if self.total_ns else 0.0


def operation(span: Span) -> str:
    """What a bar of a queue is coloured by: the kernel's operation, without its engine."""
    return HOST_FUNCTION if span.kind is SpanKind.HOST_FUNCTION else span.kernel.partition("/")[0]


def layout(spans: Iterable[Span]) -> Layout:
    """Sorts spans into lanes and rows.

    Args:
        spans: What a capture collected, in any order.

    Returns:
        The layout; the same spans in another order give the same one.

    Raises:
        InvalidArgumentError: There are no spans, or a span ends before it begins.
    """
    ordered = sorted(spans, key=lambda s: (s.start_ns, -s.end_ns, s.lane, s.kind, s.name))
    if not ordered:
        raise InvalidArgumentError("timeline: spans: expected at least one, got none")
    by_lane: dict[str, list[Span]] = defaultdict(list)
    for span in ordered:
        _check(span)
        by_lane[span.lane].append(span)
    lanes = [_lane(name, members) for name, members in by_lane.items()]
    work = [span for span in ordered if span.kind in WORK_KINDS and not span.skipped]
    return Layout(
        lanes=sorted(lanes, key=lambda lane: not lane.host),
        start_ns=ordered[0].start_ns,
        end_ns=max(span.end_ns for span in ordered),
        busy_ns=_covered(work),
        colours=_colours(work),
    )


def _check(span: Span) -> None:
    if span.end_ns < span.start_ns:
        raise InvalidArgumentError(
            f'timeline: span "{span.name}": end_ns: expected at least its start {span.start_ns}, '
            f"got {span.end_ns}"
        )


def _lane(name: str, spans: Sequence[Span]) -> Lane:
    pieces = [span for span in spans if span.kind is SpanKind.PIECE]
    bars = [span for span in spans if span.kind is not SpanKind.PIECE and not span.skipped]
    return Lane(
        name,
        host=all(span.kind in HOST_KINDS for span in spans),
        rows=_rows(pieces) + _rows(bars),
        skipped=[span for span in spans if span.skipped],
    )


def _rows(spans: Sequence[Span]) -> list[list[Span]]:
    """Puts each span, the earliest first, into the first row that is free when it begins."""
    rows: list[list[Span]] = []
    for span in spans:
        free = next((row for row in rows if row[-1].end_ns <= span.start_ns), None)
        if free is None:
            free = []
            rows.append(free)
        free.append(span)
    return rows


def _covered(spans: Sequence[Span]) -> int:
    """Nanoseconds in which at least one of the spans runs; they come by their start."""
    covered, until = 0, 0
    for span in spans:
        covered += max(0, span.end_ns - max(span.start_ns, until))
        until = max(until, span.end_ns)
    return covered


def _colours(work: Sequence[Span]) -> dict[str, str]:
    total: dict[str, int] = defaultdict(int)
    for span in work:
        total[operation(span)] += span.end_ns - span.start_ns
    costliest = sorted(total, key=lambda name: (-total[name], name))[: len(WORK_COLOURS)]
    # By name, so that two pictures of like work have like colours.
    return dict(zip(sorted(costliest), WORK_COLOURS, strict=False))


def plot(spans: Iterable[Span], path: str | Path) -> None:
    """Draws a timeline.

    Args:
        spans: What a capture collected, in any order.
        path: Where to write; the suffix picks the format, such as .png or .svg.

    Raises:
        InvalidArgumentError: As for `layout`.
        MissingPackageError: Matplotlib is not installed.
    """
    plan = layout(spans)
    agg = optional_module("matplotlib.backends.backend_agg", "plot", "the timeline's picture")
    # A figure without pyplot leaves the program's own choice of a screen backend alone.
    figures = optional_module("matplotlib.figure", "plot", "the timeline's picture")
    count = sum(len(lane.rows) or 1 for lane in plan.lanes)
    size = (INCHES_WIDE, 1.5 + INCHES_A_ROW * count + 0.2 * len(plan.lanes))
    figure = figures.Figure(figsize=size, layout="constrained")
    agg.FigureCanvasAgg(figure)
    _Drawing(figure.add_subplot(), plan).draw()
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=DOTS_AN_INCH)


class _Drawing:
    """Draws a layout on Matplotlib's axes, the first lane at the top."""

    def __init__(self, axes: Any, plan: Layout) -> None:  # noqa: ANN401
        self._axes, self._plan = axes, plan
        self._unit, self._per_unit = _unit(plan.total_ns)
        self._width = plan.total_ns / self._per_unit or 1.0
        self._legend: dict[str, Any] = {}

    def draw(self) -> None:
        """Everything."""
        axes, plan = self._axes, self._plan
        top, ticks = 0.0, []
        for lane in plan.lanes:
            height = max(len(lane.rows), 1)
            ticks.append(top - height / 2)
            for index, row in enumerate(lane.rows):
                self._row(row, top - index)
            self._crosses(lane, top - height)
            top -= height + 0.5
            axes.axhline(top + 0.25, color="#BBBBBB", linewidth=0.5)
        axes.set_yticks(ticks, [lane.name for lane in plan.lanes])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(top + 0.25, 0.25)
        axes.set_xlim(-0.002 * self._width, 1.002 * self._width)
        axes.set_xlabel(f"time in {self._unit}")
        axes.spines[["top", "right", "left"]].set_visible(False)
        text = f"{self._width:.4g} {self._unit}, the device is busy {plan.busy_share:.0%}"
        axes.set_title(text, loc="left", fontsize=10)
        if self._legend:
            axes.figure.legend(
                self._legend.values(),
                self._legend.keys(),
                loc="outside lower center",
                ncols=8,
                fontsize=8,
                frameon=False,
            )

    def _row(self, spans: Sequence[Span], top: float) -> None:
        groups: dict[str, list[Span]] = defaultdict(list)
        for span in spans:
            groups[self._group(span)].append(span)
        for group, members in groups.items():
            bars = [self._extent(span) for span in members]
            self._bars(group, bars, top)
        for span in spans:
            self._text(span, top)

    def _group(self, span: Span) -> str:
        if span.kind not in WORK_KINDS:
            return span.kind.name.lower()
        name = operation(span)
        return name if name in self._plan.colours else OTHERS

    def _extent(self, span: Span) -> tuple[float, float]:
        begin = (span.start_ns - self._plan.start_ns) / self._per_unit
        width = (span.end_ns - span.start_ns) / self._per_unit
        least = self._width * VISIBLE_SHARE if span.kind in HOST_KINDS else 0.0
        return begin, max(width, least)

    def _bars(self, group: str, bars: Sequence[tuple[float, float]], top: float) -> None:
        where = (top - 0.9, 0.8)
        if group == "piece":
            style = {"facecolors": "white", "edgecolors": "#555555", "linewidth": 0.6}
        elif group == "wait":
            style = {"facecolors": HOST_COLOURS[group], "edgecolors": "white", "hatch": "////"}
            style["linewidth"] = 0.0
        else:
            colour = HOST_COLOURS.get(group) or self._plan.colours.get(group, OTHER_COLOUR)
            # No edges: they would hide the gaps between kernels.
            style = {"facecolors": colour, "linewidth": 0.0}
        handle = self._axes.broken_barh(bars, where, **style)
        self._legend.setdefault(group, handle)

    def _text(self, span: Span, top: float) -> None:
        if span.kind in {SpanKind.COMMIT, SpanKind.WAIT}:
            return
        begin, width = self._extent(span)
        text = span.commands if span.kind in {SpanKind.PIECE, SpanKind.ENCODE} else span.name
        # About a tenth of the picture's width is the lanes' names.
        if not text or len(text) * CHARACTER_INCHES > 0.9 * INCHES_WIDE * width / self._width:
            return
        dark = span.kind in WORK_KINDS and self._group(span) in list(self._plan.colours)[:3]
        self._axes.text(
            begin + width / 2,
            top - 0.5,
            text,
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if dark or span.kind is SpanKind.HANDLER else "black",
            clip_on=True,
        )

    def _crosses(self, lane: Lane, bottom: float) -> None:
        if not lane.skipped:
            return
        at = [(span.start_ns - self._plan.start_ns) / self._per_unit for span in lane.skipped]
        style = {"linestyle": "none", "color": "black", "markersize": 4.0}
        (handle,) = self._axes.plot(at, [bottom] * len(at), marker="x", **style)
        self._legend.setdefault("skipped", handle)


def _unit(nanoseconds: int) -> tuple[str, float]:
    """A unit for times of this length, and the nanoseconds in it."""
    for name, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return name, size
    return "ns", 1.0
