# SPDX-License-Identifier: MIT
"""Fails when a node class has no case: adding a node means adding its cases."""

from __future__ import annotations

from case_nets import build, gradient_nodes, parameters_of
from oracles import oracle_of
from planned_cases import all_cases

import mpsnn as mps
from mpsnn import _core


def test_every_class_is_reached_by_a_case() -> None:
    reached = set()
    for case in all_cases():
        net = build(case, parameters_of(case, integers=True))
        reached.add(net.node.class_name)
        if case.differentiable:
            gradients = gradient_nodes(net, mps.ImageNode("gradient"))
            assert gradients, case.id
            reached |= {node.class_name for node in gradients.values()}
    missing = {row["name"] for row in _core.node_table()} - reached
    assert not missing, f"node classes without a case in tests/cases: {sorted(missing)}"


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
