# SPDX-License-Identifier: MIT
"""Holds the C++ API to Python's, and the C++ tests to the C++ API.

- Every public class, member, enumerator and function of the Python module has its counterpart in
  include/mpsnn under the same name: a property is a member function (with `set_…` where it can be
  set) or a field. What only one of them has stands in ONLY_PYTHON, with the reason.
- Every public class of include/mpsnn has a comment.
- Every public class and function of include/mpsnn is used by a test of tests/cpp.
- Every function of mpsnn.h says that no exception leaves it, which the compiler then sees to.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cpp_api import HEADERS, CppApi, read_headers

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "mpsnn"
TESTS = ROOT / "tests" / "cpp"
MODULES = ("_core.pyi", "nodes.py", "kernels.py", "pipeline.py")

_NUMPY = "numpy's arrays; C++ has read, write, data"
_DLPACK = "DLPack comes from other packages of Python"
_ARRAY = "numpy's arrays; C++ takes a descriptor, and write"
_DRAWS = "draws with packages of Python; C++ has the text, or the JSON, that it is made of"
_TABLES = "what the classes of nodes.py and kernels.py are made from; C++ has them made already"

# What Python has and C++ cannot or need not have, with the reason.
ONLY_PYTHON = {
    "Array.numpy": _NUMPY,
    "Graph.svg": _DRAWS,
    "Image.from_dlpack": _DLPACK,
    "Image.numpy": _NUMPY,
    "Matrix.from_array": _ARRAY,
    "Matrix.from_dlpack": _DLPACK,
    "Matrix.wrap": "Matrix(Buffer::wrap(…), …)",
    "NDArray.from_array": _ARRAY,
    "NDArray.from_dlpack": _DLPACK,
    "NDArray.wrap": "NDArray(Buffer::wrap(…), …)",
    "Trace.plot": _DRAWS,
    "Vector.from_array": _ARRAY,
    "Vector.from_dlpack": _DLPACK,
    "Vector.wrap": "Vector(Buffer::wrap(…), …)",
    "enum_table": _TABLES,
    "kernel_table": _TABLES,
    "node_table": _TABLES,
    "register_node_class": _TABLES,
}

# Where C++ has it under another name, or in another class.
RENAMED = {
    "Buffer.size": "Buffer.bytes",
    "ConvolutionDataSource.bias_terms": "ConvolutionDataSource.initial",
    "ConvolutionDataSource.data_type": "ConvolutionWeights.data_type",
    "ConvolutionDataSource.lookup_table": "ConvolutionWeights.lookup_table",
    "ConvolutionDataSource.ranges": "ConvolutionWeights.ranges",
    "ConvolutionDataSource.weights": "ConvolutionWeights.values",
    "ConvolutionDataSource.weights_quantization_type": "ConvolutionWeights.quantization_type",
    "ConvolutionDescriptor.weight_shape": "ParameterInfo.shape",
    "GraphCost": "Graph::Cost",
    "Matrix.row_bytes_for_columns": "MatrixDescriptor.row_bytes_for_columns",
    "PaddingPolicy.padding": "PaddingPolicy.own",
    "capture": "Capture",
}

# Classes that are made from the tables of nodes and kernels: their parameters are properties in
# Python; C++ has FilterNode::attribute, DeviceKernel::attribute and set_attribute by their names.
FROM_TABLES = ("nodes.py", "kernels.py")


def python_classes() -> Iterator[tuple[ast.ClassDef | ast.FunctionDef, str]]:
    """Public classes and functions of the modules that are written for both languages."""
    for module in MODULES:
        tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                yield node, module


def members(node: ast.ClassDef, module: str) -> tuple[set[str], set[str]]:
    """Public members of a class, and those of them that can be set."""
    names, settable = set[str](), set[str]()
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            if module in FROM_TABLES and part.decorator_list:
                continue  # a parameter
            names.add(part.name)
            if any(ast.unparse(mark).endswith(".setter") for mark in part.decorator_list):
                settable.add(part.name)
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            names.add(part.target.id)
        elif isinstance(part, ast.Assign):
            names.update(target.id for target in part.targets if isinstance(target, ast.Name))
    public = {name for name in names if not name.startswith("_")}
    return public, settable & public


def compare_class(node: ast.ClassDef, module: str, api: CppApi) -> Iterator[str]:
    """What a Python class has and its C++ counterpart lacks."""
    name = RENAMED.get(node.name, node.name)
    public, settable = members(node, module)
    if name in api.enums:
        for value in sorted(public - api.enums[name]):
            yield f"{node.name}.{value}"
        return
    if name not in api.classes:
        yield node.name
        return
    for member in sorted(public):
        of, _, wanted = RENAMED.get(f"{node.name}.{member}", f"{name}.{member}").partition(".")
        functions, fields = api.members(of)
        if wanted not in functions | fields:
            yield f"{node.name}.{member}"
        elif member in settable and f"set_{wanted}" not in functions and wanted not in fields:
            yield f"{node.name}.{member} = …"


def missing_in_cpp(api: CppApi) -> Iterator[str]:
    """What Python has and the headers lack, as "Class.member"."""
    for node, module in python_classes():
        if isinstance(node, ast.ClassDef):
            yield from compare_class(node, module, api)
        elif RENAMED.get(node.name, node.name) not in api.functions | api.classes.keys():
            yield node.name


def python_names() -> set[str]:
    """Every public name of the modules: "Class", "Class.member", "function"."""
    names = set[str]()
    for node, module in python_classes():
        names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{member}" for member in members(node, module)[0]}
    return names


def throwing() -> Iterator[str]:
    """Functions of the C interface that do not say that they throw nothing."""
    text = (HEADERS.parent / "mpsnn.h").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    for name, end in re.findall(r"\b(mpsnn_\w+)\([^()]*\)([^;]*);", text):
        if "MPSNN_NOEXCEPT" not in end:
            yield name


def undocumented() -> Iterator[str]:
    """Classes and enumerations of the headers without a comment of their own."""
    for path in sorted(HEADERS.glob("*.h")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in itertools.pairwise(lines):
            found = re.match(r"(?:class|struct|enum class) (\w+)(?!.*;)", line)
            if found and not before.startswith(("///", "template")):
                yield f"{found[1]} ({path.name})"


def untested(api: CppApi) -> Iterator[str]:
    """Public classes and functions that no test of tests/cpp names."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sorted(TESTS.glob("*.cpp")))
    words = set(re.findall(r"\w+", tests))
    for name, found in api.classes.items():
        if name.rpartition("::")[2] not in words:
            yield f"{name} ({found.header.name})"
    for name in sorted(api.functions - words):
        yield f"{name}()"


def main() -> int:
    """Prints what breaks the rules."""
    api = read_headers()
    missing = set(missing_in_cpp(api))
    wrong = [
        f"{name}: Python has it, include/mpsnn does not (else give the reason in ONLY_PYTHON)"
        for name in sorted(missing - ONLY_PYTHON.keys())
    ]
    wrong += [
        f"{name}: stands in ONLY_PYTHON, but is the same in both or nowhere"
        for name in sorted(ONLY_PYTHON.keys() - missing)
    ]
    wrong += [
        f"{name}: stands in RENAMED, but Python has no such name"
        for name in sorted(RENAMED.keys() - python_names())
    ]
    wrong += [f"{name}: expected MPSNN_NOEXCEPT, got none" for name in throwing()]
    wrong += [f"{name}: a comment that says what it is, got none" for name in undocumented()]
    wrong += [f"{name}: no test in tests/cpp uses it" for name in untested(api)]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
