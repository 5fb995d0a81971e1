# SPDX-License-Identifier: MIT
"""Reads pickled dictionaries of arrays without running them.

A pickle is a program: Python's own reader calls whatever function it names. The published batches
of CIFAR-10 are pickles, but hold numbers, texts, lists, dictionaries and arrays of bytes only. This
module takes a pickle apart into its instructions and follows the few that build such values. No
name in a pickle is ever looked up, so none can be called.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

# The three names that NumPy writes for an array, under its old and new module.
RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
ARRAY, DATA_TYPE = "numpy ndarray", "numpy dtype"
NAMES = RECONSTRUCT | {ARRAY, DATA_TYPE}


class PickleError(ValueError):
    """Not a pickle, or one that holds more than arrays, numbers, texts, lists and dictionaries."""


class _Name:
    """A name that the pickle refers to; it stands for nothing but itself."""

    def __init__(self, name: str) -> None:
        if name not in NAMES:
            raise PickleError(f'expected arrays and plain values, got the name "{name}"')
        self.name = name


class _DataType:
    """An element type while it is being built."""


class _Array:
    """An array while it is being built, and after."""

    def __init__(self) -> None:
        self.values: np.ndarray[Any, np.dtype[np.uint8]] | None = None


class _Mark:
    """Begin of a list of arguments on the stack."""


def load(data: bytes) -> object:
    """Builds the value that a pickle describes.

    Args:
        data: A pickle of any protocol.

    Returns:
        A number, text, list, tuple, array of uint8, or a dictionary of these.

    Raises:
        PickleError: The data is no pickle, is cut short, or holds anything else.
    """
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(data):
            machine.run(instruction.name, argument)
        return machine.result()
    except PickleError:
        raise
    # What a stack that holds other things than an instruction expects leads to.
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise PickleError(f"expected a pickle, got a damaged one: {error}") from error


class _Machine:
    """The stack and the memo that a pickle's instructions work on."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Follows one instruction."""
        if name in VALUES:
            self._stack.append(argument)
        elif name in SIMPLE:
            SIMPLE[name](self)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name]())
        elif name == "GLOBAL":
            self._stack.append(_Name(argument))
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self._memo[argument] = self._stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo[argument])
        elif name not in {"PROTO", "FRAME", "STOP"}:
            raise PickleError(f"expected arrays and plain values, got the instruction {name}")

    def result(self) -> object:
        """What is left at the end."""
        (value,) = self._stack
        return _finished(value)

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def named(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(_Name(f"{module} {name}"))

    def collect(self) -> list[Any]:
        """Takes everything after the last mark off the stack."""
        values: list[Any] = []
        while not isinstance(value := self._stack.pop(), _Mark):
            values.append(value)
        return values[::-1]

    def tuple_of(self, count: int) -> None:
        values = [self._stack.pop() for _ in range(count)]
        self._stack.append(tuple(reversed(values)))

    def make_list(self) -> None:
        self._stack.append(self.collect())

    def make_tuple(self) -> None:
        self._stack.append(tuple(self.collect()))

    def make_dictionary(self) -> None:
        self._stack.append(_pairs(self.collect()))

    def append(self) -> None:
        value = self._stack.pop()
        _expect(self._stack[-1], list).append(value)

    def extend(self) -> None:
        values = self.collect()
        _expect(self._stack[-1], list).extend(values)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _expect(self._stack[-1], dict)[key] = value

    def set_items(self) -> None:
        values = self.collect()
        _expect(self._stack[-1], dict).update(_pairs(values))

    def reduce(self) -> None:
        """Where Python would call a function: only what begins an array or its type."""
        arguments, function = self._stack.pop(), _expect(self._stack.pop(), _Name)
        if function.name in RECONSTRUCT and _expect(arguments[0], _Name).name == ARRAY:
            self._stack.append(_Array())
        elif function.name == DATA_TYPE:
            if arguments[0] not in {"u1", "|u1"}:
                raise PickleError(f"expected an array of uint8, got one of {arguments[0]!r}")
            self._stack.append(_DataType())
        else:
            raise PickleError(f'expected arrays and plain values, got a call of "{function.name}"')

    def build(self) -> None:
        """Gives an array that was begun its shape and values."""
        state = self._stack.pop()
        if isinstance(self._stack[-1], _DataType):
            return  # byte order and the like, which bytes do not have
        array = _expect(self._stack[-1], _Array)
        _, shape, data_type, by_columns, raw = state
        _expect(data_type, _DataType)
        values = np.frombuffer(raw if isinstance(raw, bytes) else raw.encode("latin-1"), np.uint8)
        if any(not isinstance(n, int) or n < 0 for n in shape) or math.prod(shape) != values.size:
            raise PickleError(f"expected an array of shape {shape}, got {values.size} bytes")
        array.values = values.reshape(shape, order="F" if by_columns else "C")


def _expect(value: Any, kind: type[Any]) -> Any:  # noqa: ANN401
    if not isinstance(value, kind):
        raise PickleError(f"expected a pickle, got a damaged one: {type(value).__name__}")
    return value


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))


def _finished(value: Any) -> object:  # noqa: ANN401
    """The value, or its items, with arrays in the places of what they were built in."""
    if isinstance(value, dict):
        return {key: _array(item) for key, item in value.items()}
    return _array(value)


def _array(value: Any) -> object:  # noqa: ANN401
    if isinstance(value, _Array):
        if value.values is None:
            raise PickleError("expected an array, got one without values")
        return value.values
    if isinstance(value, (_Name, _DataType, _Mark)):
        raise PickleError("expected arrays and plain values, got a name")
    return value


# Instructions that push what they carry.
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
SIMPLE: dict[str, Callable[[_Machine], None]] = {
    "LIST": _Machine.make_list,
    "TUPLE": _Machine.make_tuple,
    "DICT": _Machine.make_dictionary,
    "TUPLE1": lambda machine: machine.tuple_of(1),
    "TUPLE2": lambda machine: machine.tuple_of(2),
    "TUPLE3": lambda machine: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "MEMOIZE": _Machine.memoize,
    "STACK_GLOBAL": _Machine.named,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
