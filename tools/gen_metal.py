# SPDX-License-Identifier: MIT
"""Reads the table of src/backend/metal/lowering.mm: which node classes run on Metal.

Text is read, since the backend is built where Metal or its double is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src/backend/metal/lowering.mm"
TABLE = re.compile(r"constexpr auto kRows = std::to_array<NodeRow>\(\{(.*?)\n\}\);", re.DOTALL)
ROW = re.compile(r'neuron\("(\w+)"\)|\{"(\w+)",\s*(nullptr|&\w+),\s*(nullptr|&\w+)\}')
REFUSAL = re.compile(
    r'std::string (refuse_\w+)\(const NodeCase&\) \{\s*return ((?:"[^"\n]*"\s*)+);'
)
# What refuses no node that a training graph makes beside its forward node.
ALWAYS_FITS = ("nullptr", "&refuse_orphan")


@dataclass(frozen=True)
class Row:
    """A node class.

    Attributes:
        state: "yes", "with limits" (some nodes of the class are refused) or "no".
        reason: Why, for "no".
    """

    state: str
    reason: str = ""


def rows() -> dict[str, Row]:
    """The table's rows by node class, in its order."""
    text = SOURCE.read_text("utf-8")
    table = TABLE.search(text)
    if table is None:
        raise SystemExit(f"gen_metal.py: {SOURCE} has no table kRows")
    reasons = {
        f"&{name}": "".join(re.findall(r'"([^"]*)"', parts))
        for name, parts in REFUSAL.findall(text)
    }
    found: dict[str, Row] = {}
    for neuron, name, refuse, lower in ROW.findall(table[1]):
        if neuron:
            found[neuron] = Row("yes")
        elif lower == "nullptr":
            found[name] = Row("no", reasons[refuse])
        else:
            found[name] = Row("yes" if refuse in ALWAYS_FITS else "with limits")
    return found


def refused() -> list[str]:
    """The classes without a lowering as a list in Markdown: each reason with what it holds for."""
    by_reason: dict[str, list[str]] = {}
    for name, row in rows().items():
        if row.state == "no":
            by_reason.setdefault(row.reason, []).append(name)
    return [f"- {', '.join(names)}: {reason}." for reason, names in by_reason.items()]
