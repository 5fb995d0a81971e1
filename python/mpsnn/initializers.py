# SPDX-License-Identifier: MIT
"""First values for weights, from MatrixRandomPhilox: a seed fixes a run, on every device."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import (
    CommandBuffer,
    DataType,
    Device,
    MatrixRandomDistributionDescriptor,
    Vector,
)
from mpsnn.kernels import MatrixRandomPhilox


class RandomNumbers:
    """A sequence of random numbers made on a device: each call takes its next words.

    Args:
        seed: Where the sequence begins, 64 bits.
        device: Where the numbers are made, which changes none of them. None: the best one here.

    Raises:
        InvalidArgumentError: A seed that is negative or has more than 64 bits.
    """

    def __init__(self, seed: int = 0, device: Device | None = None) -> None:
        self.seed = seed
        self.device = Device() if device is None else device
        self.position = 0
        self._queue = self.device.command_queue()
        MatrixRandomPhilox(self.device, seed=seed)  # refuses seeds that are none

    def draw(
        self, shape: tuple[int, ...], distribution: MatrixRandomDistributionDescriptor
    ) -> NDArray[np.float32]:
        """Numbers of any distribution.

        Args:
            shape: Of the array; no dimension is 0.
            distribution: How they are distributed.

        Returns:
            The array, in row order of the sequence.

        Raises:
            InvalidArgumentError: A distribution without sense.
        """
        kernel = MatrixRandomPhilox(
            self.device,
            data_type=DataType.FLOAT32,
            seed=self.seed,
            distribution_descriptor=distribution,
        )
        kernel.write_state(np.array([self.seed, self.position], np.uint64).tobytes())
        values = Vector(self.device, length=math.prod(shape))
        commands = CommandBuffer(self._queue)
        kernel.encode(commands, values)
        commands.commit()
        commands.wait_until_completed()
        self.position += math.prod(shape)
        array: NDArray[np.float32] = np.array(values, np.float32).reshape(shape)
        return array


def uniform(
    shape: tuple[int, ...], numbers: RandomNumbers, minimum: float = 0.0, maximum: float = 1.0
) -> NDArray[np.float32]:
    """Uniform values in [minimum, maximum).

    Args:
        shape: Of the weights.
        numbers: Where they come from.
        minimum: The smallest value.
        maximum: Above all values.

    Returns:
        The weights.
    """
    return numbers.draw(shape, MatrixRandomDistributionDescriptor.uniform(minimum, maximum))


def normal(
    shape: tuple[int, ...],
    numbers: RandomNumbers,
    mean: float = 0.0,
    standard_deviation: float = 1.0,
) -> NDArray[np.float32]:
    """Normal values.

    Args:
        shape: Of the weights.
        numbers: Where they come from.
        mean: Of the values.
        standard_deviation: Of the values.

    Returns:
        The weights.
    """
    return numbers.draw(shape, MatrixRandomDistributionDescriptor.normal(mean, standard_deviation))


def truncated_normal(
    shape: tuple[int, ...],
    numbers: RandomNumbers,
    mean: float = 0.0,
    standard_deviation: float = 1.0,
    bound: float = 2.0,
) -> NDArray[np.float32]:
    """Normal values, none further than `bound` standard deviations from the mean.

    Args:
        shape: Of the weights.
        numbers: Where they come from.
        mean: Of the values.
        standard_deviation: Before they are truncated.
        bound: In standard deviations.

    Returns:
        The weights.
    """
    reach = bound * standard_deviation
    return numbers.draw(
        shape,
        MatrixRandomDistributionDescriptor.truncated_normal(
            mean, standard_deviation, mean - reach, mean + reach
        ),
    )


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many values each result is made of, and how many results each value goes into.

    Args:
        shape: OHWI: output channels, kernel height, kernel width, input channels of a group; or
            (outputs, inputs).

    Returns:
        height · width · inputs, and height · width · outputs.
    """
    return math.prod(shape[1:]), math.prod(shape[:-1])


def he_normal(shape: tuple[int, ...], numbers: RandomNumbers) -> NDArray[np.float32]:
    """Normal values that keep the variance of activations through ReLUs (He et al. 2015).

    Args:
        shape: Of the weights, see `fans`.
        numbers: Where they come from.

    Returns:
        Weights of mean 0 and variance 2 / fan-in.
    """
    return normal(shape, numbers, 0.0, math.sqrt(2.0 / fans(shape)[0]))


def he_uniform(shape: tuple[int, ...], numbers: RandomNumbers) -> NDArray[np.float32]:
    """Uniform values of the same variance as `he_normal`.

    Args:
        shape: Of the weights, see `fans`.
        numbers: Where they come from.

    Returns:
        Weights in [-b, b), b being the root of 6 / fan-in.
    """
    bound = math.sqrt(6.0 / fans(shape)[0])
    return uniform(shape, numbers, -bound, bound)


def glorot_normal(shape: tuple[int, ...], numbers: RandomNumbers) -> NDArray[np.float32]:
    """Normal values that keep the variance both ways (Glorot and Bengio 2010).

    Args:
        shape: Of the weights, see `fans`.
        numbers: Where they come from.

    Returns:
        Weights of mean 0 and variance 2 / (fan-in + fan-out).
    """
    return normal(shape, numbers, 0.0, math.sqrt(2.0 / sum(fans(shape))))


def glorot_uniform(shape: tuple[int, ...], numbers: RandomNumbers) -> NDArray[np.float32]:
    """Uniform values of the same variance as `glorot_normal`.

    Args:
        shape: Of the weights, see `fans`.
        numbers: Where they come from.

    Returns:
        Weights in [-b, b), b being the root of 6 / (fan-in + fan-out).
    """
    bound = math.sqrt(6.0 / sum(fans(shape)))
    return uniform(shape, numbers, -bound, bound)


def orthogonal(
    shape: tuple[int, ...], numbers: RandomNumbers, gain: float = 1.0
) -> NDArray[np.float32]:
    """A random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014).

    Args:
        shape: Of the weights: a matrix of shape[0] rows.
        numbers: Where they come from.
        gain: Factor of the whole.

    Returns:
        The weights. The decomposition is made by numpy in float64.
    """
    rows = shape[0]
    columns = math.prod(shape[1:])
    values = normal((max(rows, columns), min(rows, columns)), numbers).astype(np.float64)
    q, r = np.linalg.qr(values)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # the same matrix, whatever signs the library chose
    matrix = q if rows >= columns else q.T
    weights: NDArray[np.float32] = (gain * matrix).astype(np.float32).reshape(shape)
    return weights
