# SPDX-License-Identifier: MIT
"""Fails when a class of kernels, a method or a parameter has no case."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from typing import Any

import cases

from mpsnn import _core

TABLE = {row["name"]: row for row in _core.kernel_table()}


def kernel_cases() -> list[Any]:
    """Every case of a kernel in the tables of tests/cases."""
    names = sorted(module.name for module in pkgutil.iter_modules(cases.__path__))
    modules = [importlib.import_module(f"cases.{name}") for name in names]
    return [case for module in modules for case in getattr(module, "KERNEL_CASES", [])]


def test_every_method_of_every_class_is_reached() -> None:
    reached = {(case.kernel, case.method) for case in kernel_cases()}
    wanted = {(name, method["name"]) for name, row in TABLE.items() for method in row["methods"]}
    assert not wanted - reached, f"without a case in tests/cases: {sorted(wanted - reached)}"
    assert not reached - wanted, f"cases of nothing: {sorted(reached - wanted)}"


def test_every_parameter_is_given_a_value_away_from_its_default() -> None:
    given: dict[tuple[str, str], set[str]] = defaultdict(set)
    for case in kernel_cases():
        for name, value in case.attributes.items():
            given[case.kernel, name].add(repr(value))
    missing = [
        f"{row['name']}.{attribute['name']}"
        for row in TABLE.values()
        for attribute in row["attributes"]
        if not given[row["name"], attribute["name"]] - {repr(attribute["default"])}
    ]
    assert not missing, f"only with their defaults in the cases: {missing}"


def test_every_class_has_an_example_that_checks_something() -> None:
    for name, row in TABLE.items():
        assert "assert " in row["example"], name
        assert f"mps.{name}(" in row["example"], name
