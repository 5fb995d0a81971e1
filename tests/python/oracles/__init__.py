# SPDX-License-Identifier: MIT
"""What must come out: every node's formula in JAX and float64, differentiated by JAX itself.

The formulas are written from the definitions of Metal Performance Shaders, not from our code.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from numpy.typing import NDArray

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)

Array = jax.Array
Doubles = NDArray[np.float64]
Parameters = Mapping[str, Array]
Named = dict[str, Doubles]
Formula = Callable[[Case, list[Array], Parameters], Array]
Terms = Callable[[Case, Mapping[str, tuple[int, ...]]], int]
Sizes = Callable[[Case, list[Doubles], Mapping[str, Doubles], Doubles], tuple[float, float]]

# Half the distance from 1 to the next float32: the largest relative error of one rounding.
UNIT = 2.0**-24
# Roundings that a value sees beside those of its sum (scales, bias, the store).
EXTRA = 8


def always_one(_case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A value that is no sum."""
    return 1


@dataclass(frozen=True)
class Oracle:
    """What is known of one node class.

    Attributes:
        forward: The formula.
        differentiable: The formula that is differentiated where that is another one.
        magnitude: The formula with absolute values of its summands, to bound the rounding errors;
            None: the formula of absolute values, which fits all sums of products.
        terms: Summands of one value of the result.
        gradient_terms: Summands of one value of a source's gradient.
        parameter_terms: Summands of one value of a parameter's gradient.
        bounded_by_result: Errors are bounded by the largest value instead: formulas with branches.
        reads_result: The gradients of sources are computed from the result, as it was rounded.
        gradient_sizes: How large the summands of the gradients of sources and of parameters are,
            where neither of the above tells: formulas whose terms cancel.
    """

    forward: Formula
    differentiable: Formula | None = None
    magnitude: Formula | None = None
    terms: Terms = always_one
    gradient_terms: Terms = always_one
    parameter_terms: Terms = always_one
    bounded_by_result: bool = False
    reads_result: bool = False
    gradient_sizes: Sizes | None = None

    def result(
        self, case: Case, sources: list[Doubles], parameters: Mapping[str, Doubles]
    ) -> tuple[Doubles, Doubles]:
        """The result and the error that float32 may make in each value."""
        expected = np.asarray(evaluate(self.forward, case, sources, dict(parameters)))
        if self.magnitude is not None:
            magnitude = evaluate(self.magnitude, case, sources, dict(parameters))
        elif self.bounded_by_result:
            magnitude = np.full(expected.shape, np.abs(expected).max())
        else:
            magnitude = evaluate(
                self.forward, absolute(case), _absolutes(sources), _absolute_map(parameters)
            )
        terms = self.terms(case, _shapes(sources, parameters, expected))
        return expected, UNIT * (terms + EXTRA) * np.abs(np.asarray(magnitude))

    def gradients(
        self,
        case: Case,
        sources: list[Doubles],
        parameters: Mapping[str, Doubles],
        gradient: Doubles,
    ) -> Gradients:
        """Gradients of sources and parameters, and the errors that float32 may make in them."""
        formula = self.differentiable or self.forward
        by_source, by_name = pull_back(formula, case, sources, dict(parameters), gradient)
        if self.gradient_sizes is not None:
            size, named_size = self.gradient_sizes(case, sources, parameters, gradient)
            sizes = [np.full(g.shape, size) for g in by_source]
            named_sizes = {k: np.full(g.shape, named_size) for k, g in by_name.items()}
        elif self.bounded_by_result:
            sizes = [np.full(g.shape, np.abs(g).max()) for g in by_source]
            named_sizes = {k: np.full(g.shape, np.abs(g).max()) for k, g in by_name.items()}
        else:
            sizes, named_sizes = pull_back(
                formula,
                absolute(case),
                _absolutes(sources),
                _absolute_map(parameters),
                np.abs(gradient),
            )
        shapes = _shapes(sources, parameters, gradient)
        u = UNIT * (self.gradient_terms(case, shapes) + EXTRA)
        v = UNIT * (self.parameter_terms(case, shapes) + EXTRA)
        return Gradients(
            [np.asarray(g) for g in by_source],
            [u * np.abs(np.asarray(size)) for size in sizes],
            [np.abs(np.asarray(size)) for size in sizes],
            {name: np.asarray(g) for name, g in by_name.items()},
            {name: v * np.abs(np.asarray(size)) for name, size in named_sizes.items()},
        )


@dataclass(frozen=True)
class Gradients:
    """Gradients of sources and parameters, each with the error that float32 may make in it.

    The sizes are those of the summands of the sources' gradients.
    """

    sources: list[Doubles]
    source_errors: list[Doubles]
    source_sizes: list[Doubles]
    parameters: dict[str, Doubles]
    parameter_errors: dict[str, Doubles]


@partial(jax.jit, static_argnums=(0, 1))
def evaluate(formula: Formula, case: Case, sources: list[Doubles], parameters: Named) -> Array:
    """The formula's value, compiled once a case."""
    return formula(case, sources, parameters)


@partial(jax.jit, static_argnums=(0, 1))
def pull_back(
    formula: Formula, case: Case, sources: list[Doubles], parameters: Named, gradient: Doubles
) -> tuple[list[Array], dict[str, Array]]:
    """JAX's gradients of the formula, compiled once a case."""
    _, vjp = jax.vjp(lambda s, p: formula(case, s, p), sources, parameters)
    return vjp(gradient)


def absolute(case: Case) -> Case:
    """The case with the absolute values of its factors, to bound what rounding can do."""
    names = {"primary_scale", "secondary_scale", "bias", "weight"}
    attributes = {
        name: abs(value) if name in names else value for name, value in case.attributes.items()
    }
    for name in ("minimum_value", "maximum_value"):
        attributes.pop(name, None)
    return replace(case, attributes=attributes)


def _absolutes(arrays: list[Doubles]) -> list[Doubles]:
    return [np.abs(array) for array in arrays]


def _absolute_map(arrays: Mapping[str, Doubles]) -> dict[str, Doubles]:
    return {name: np.abs(array) for name, array in arrays.items()}


def _shapes(
    sources: list[Doubles], parameters: Mapping[str, Doubles], result: Doubles
) -> dict[str, tuple[int, ...]]:
    named = {f"source{i}": source.shape for i, source in enumerate(sources)}
    return {**named, **{k: p.shape for k, p in parameters.items()}, "result": result.shape}


def oracle_of(node: str) -> Oracle:
    """The oracle of a node class: each module of this package has some in `ORACLES`."""
    for module in pkgutil.iter_modules(__path__):
        table = getattr(importlib.import_module(f"oracles.{module.name}"), "ORACLES", {})
        if node in table:
            return table[node]
    raise LookupError(node)


def take_rows(image: Array, positions: NDArray[np.int64], axis: int, *, clamp: bool) -> Array:
    """Rows (or columns) of an image by position; outside is zero, or the nearest row."""
    size = image.shape[axis]
    taken = jnp.take(image, jnp.asarray(np.clip(positions, 0, size - 1)), axis=axis)
    if clamp:
        return taken
    inside = (positions >= 0) & (positions < size)
    shape = [1] * taken.ndim
    shape[axis : axis + positions.ndim] = positions.shape
    return jnp.where(inside.reshape(shape), taken, 0.0)


# How much the padding method's size style adds: valid, same, full.
STYLES = {0: -1, 16: 0, 32: 1}
DEFAULT_METHOD = 16


def window_positions(
    size: int, kernel: int, stride: int, dilation: int, method: int | None, axis: str
) -> NDArray[np.int64]:
    """Source positions that each window reads, (windows, kernel), by the padding method.

    Result size ceil((n + style (k - 1)) / s); the window of result p starts at p s - left, where
    left is the share of the missing (out - 1) s + k - n positions that goes before the image.
    """
    method = DEFAULT_METHOD if method is None else method
    extent = (kernel - 1) * dilation + 1
    count = -(-(size + STYLES[method & 48] * (extent - 1)) // stride)
    missing = (count - 1) * stride + extent - size
    alignment, remainder = method & 3, method & 12
    before = remainder in ((0, 4) if axis == "y" else (0, 8))
    # C's division, toward zero.
    left = {0: int((missing + before) / 2), 1: missing, 2: 0}[alignment]
    return (
        np.arange(count)[:, None] * stride - left + np.arange(kernel)[None, :] * dilation
    ).astype(np.int64)
