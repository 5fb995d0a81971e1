# SPDX-License-Identifier: MIT
"""Fails when a node class has no case: adding a node means adding its cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from case_nets import build, gradient_nodes, parameters_of
from oracles import oracle_of
from planned_cases import all_cases

import mpsnn as mps
from mpsnn import _core

# Which source a gradient node's result is the gradient of.
PICKS = {"is_secondary_source_filter", "is_labels_gradient", "is_weights_gradient"}


@dataclass
class Reached:
    """What the cases reach: classes, sources with a gradient, values of gradient nodes' flags."""

    classes: set[str] = field(default_factory=set)
    sources: dict[str, set[str]] = field(default_factory=dict)
    flags: dict[str, set[tuple[str, bool]]] = field(default_factory=dict)


@cache
def reached() -> Reached:
    """Builds every case with its gradient nodes."""
    found = Reached()
    specs = {row["name"]: row["sources"] for row in _core.node_table()}
    for case in all_cases():
        net = build(case, parameters_of(case, integers=True))
        name = net.node.class_name
        found.classes.add(name)
        if not case.differentiable:
            continue
        gradients = gradient_nodes(net, mps.ImageNode("gradient"))
        assert gradients, case.id
        for index, node in gradients.items():
            found.classes.add(node.class_name)
            source = specs[name][min(index, len(specs[name]) - 1)]["name"]
            found.sources.setdefault(name, set()).add(source)
            found.flags.setdefault(node.class_name, set()).update(
                (attribute, value)
                for attribute, value in node.attributes.items()
                if isinstance(value, bool)
            )
    return found


def test_every_class_is_reached_by_a_case() -> None:
    missing = {row["name"] for row in _core.node_table()} - reached().classes
    assert not missing, f"node classes without a case in tests/cases: {sorted(missing)}"


def test_every_source_that_has_a_derivative_is_differentiated_by_a_case() -> None:
    """By forward class: several of them share a class of gradient nodes."""
    for row in _core.node_table():
        if not row["has_derivative"]:
            continue
        sources = {source["name"] for source in row["sources"] if source["derivative"] != "none"}
        assert sources, row["name"]
        missing = sources - reached().sources.get(row["name"], set())
        assert not missing, f"{row['name']}: no case differentiates {sorted(missing)}"


def test_every_flag_of_a_gradient_node_that_picks_a_source_has_both_values() -> None:
    names = set()
    for row in _core.node_table():
        for attribute in row["attributes"] if row["gradient"] else []:
            if attribute["name"] not in PICKS:
                continue
            names.add(attribute["name"])
            found = {
                value for name, value in reached().flags[row["name"]] if name == attribute["name"]
            }
            assert found == {False, True}, f"{row['name']}: {attribute['name']}"
    assert names == PICKS


def test_case_names_are_unique() -> None:
    names = [case.id for case in all_cases()]
    assert len(names) == len(set(names))


def test_every_parameter_is_given_a_value_away_from_its_default() -> None:
    given: dict[str, dict[str, set[str]]] = {}
    for case in all_cases():
        for name, value in case.attributes.items():
            given.setdefault(case.node, {}).setdefault(name, set()).add(repr(value))
    for row in _core.node_table():
        if row["gradient"]:
            continue
        for attribute in row["attributes"]:
            values = given.get(row["name"], {}).get(attribute["name"], set())
            others = values - {repr(attribute["default"])}
            assert others, f"{row['name']}: {attribute['name']} has only its default in the cases"


def test_every_forward_class_has_an_oracle() -> None:
    for row in _core.node_table():
        if not row["gradient"]:
            assert oracle_of(row["name"]).forward is not None
