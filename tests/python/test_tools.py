# SPDX-License-Identifier: MIT
"""The project's own checks find what they are there for."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    return load("check_layers")


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    return load("check_docs")


@pytest.mark.parametrize(
    ("name", "include", "problem"),
    [
        ("src/graph/plan.cpp", '"base/kernel.h"', None),
        ("src/graph/plan.cpp", '"mpsnn/node.h"', None),
        ("src/graph/plan.cpp", "<vector>", None),
        ("src/graph/plan.cpp", '"mpsnn/command_buffer.h"', "against the arrows"),
        ("src/graph/plan.cpp", '"runtime/piece.h"', "against the arrows"),
        ("src/graph/plan.cpp", '"plan.h"', "not written from an include root"),
        ("src/graph/plan.cpp", "<mpsnn/node.h>", "own header in <>"),
        ("src/base/kernel.cpp", '"graph/plan.h"', "against the arrows"),
        ("src/backend/cpu/device.cpp", "<dnnl.hpp>", None),
        ("src/backend/cpu/device.cpp", '"backend/null/device.h"', "against the arrows"),
        ("src/backend/cpu/device.cpp", '"graph/plan.h"', "against the arrows"),
        ("src/runtime/piece.cpp", '"backend/backend.h"', None),
        ("src/runtime/piece.cpp", '"backend/cpu/device.h"', "against the arrows"),
        ("src/runtime/piece.cpp", "<dnnl.hpp>", "belongs into src/backend/cpu only"),
        ("src/runtime/piece.cpp", "<pybind11/pybind11.h>", "belongs into src/bindings only"),
        ("include/mpsnn/device.h", "<dnnl.h>", "belongs into src/backend/cpu only"),
        ("include/mpsnn/device.h", '"base/kernel.h"', "against the arrows"),
        ("examples/cpp/a/main.cpp", "<mpsnn/mpsnn.h>", None),
        ("examples/cpp/a/main.cpp", '"graph/plan.h"', "against the arrows"),
    ],
)
def test_include_arrows(layers: ModuleType, name: str, include: str, problem: str | None) -> None:
    found = list(layers.check_includes(name, f"// text\n#include {include}\n"))
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert problem in found[0]
        assert found[0].startswith(f"{name}:2: ")


ROWS = """constexpr NodeRow neuron(std::string_view name) { return {name, nullptr, &lower_neuron}; }
constexpr auto kRows = std::to_array<NodeRow>({
    // nodes/convolution.mm
    {"ConvolutionNode", nullptr, &lower_convolution},
    {"ConvolutionGradientNode", &refuse_orphan, nullptr},
    // nodes/neuron.mm
    neuron("NeuronReLUNode"),
});
std::string refuse_orphan(const NodeCase& node) { return {}; }
"""


def test_lowerings_stand_where_the_table_says(layers: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    for name in ("convolution", "neuron"):
        text = f"void lower_{name}(Builder& builder,\n    const Record& node) {{\n}}\n"
        (tmp_path / f"nodes/{name}.mm").write_text(text)
    assert not list(layers.check_lowerings(tmp_path, ROWS))
    assert list(layers.check_lowerings(tmp_path, ROWS.replace("neuron.mm", "neurons.mm"))) == [
        "src/backend/metal/lowering.mm: lower_neuron is not defined in nodes/neurons.mm"
    ]
    (tmp_path / "nodes/convolution.mm").write_text("void lower_convolution(Builder& builder);\n")
    (problem,) = layers.check_lowerings(tmp_path, ROWS)
    assert "lower_convolution is not defined in nodes/convolution.mm" in problem
    (problem,) = layers.check_lowerings(tmp_path, "constexpr int kRows = 0;\n")
    assert "expected a table of NodeRow" in problem


def test_the_library_does_not_import_applications(layers: ModuleType) -> None:
    text = "from mpsnn.apps import denoise\n"
    assert list(layers.check_imports("python/mpsnn/training.py", text))
    assert not list(layers.check_imports("python/mpsnn/cli.py", text))


LICENCE = "// SPDX-License-Identifier: MIT\n"
# In pieces, so that this file itself passes the check.
UNFINISHED = "TO" + "DO"
SWALLOWED = "catch (...) {" + "}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#pragma once\n", "SPDX"),
        (LICENCE, "#pragma once"),
        (f"{LICENCE}#pragma once\n// {UNFINISHED}: more\n", "unfinished work"),
        (f"{LICENCE}#pragma once\nvoid f() {{ try {{ g(); }} {SWALLOWED} }}\n", "swallowed"),
    ],
)
def test_text_rules(layers: ModuleType, text: str, problem: str) -> None:
    found = list(layers.check_text("src/base/a.h", text))
    assert len(found) == 1
    assert problem in found[0]


def test_budgets(layers: ModuleType) -> None:
    path = Path("src/base/a.cpp")
    statement = "  x += 1;\n"
    short = f"int f(int x) {{\n{statement * 97}  return x;\n}}\n"
    assert not list(layers.check_budgets(path, str(path), short))
    long = f"int f(int x) {{\n{statement * 98}  return x;\n}}\n"
    assert list(layers.check_budgets(path, str(path), long)) == [
        "src/base/a.cpp:1: f has 101 lines, the budget is 100"
    ]
    assert list(layers.check_budgets(path, str(path), "// line\n" * 601)) == [
        "src/base/a.cpp: 601 lines, the budget is 600"
    ]
    assert not list(layers.check_budgets(path, str(path), "// Generated by x\n" * 601))


def check_page(docs: ModuleType, folder: Path, text: str) -> list[str]:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    failed: list[str] = docs.check([page], Path(sys.executable), None).failed
    return failed


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("```python\nassert 1 == 1\n```\n", None),
        ("```python\nassert 1 == 2\n```\n", 2),
        ("```python\nimport warnings\nwarnings.warn('old')\n```\n", 2),
        ("```python no-run\nassert 1 == 2\n```\n", None),
        ("```python\nx = 1\n```\ntext\n```python continue\nassert x == 1\n```\n", None),
        ("```python\nx = 1\n```\ntext\n```python\nassert x == 1\n```\n", 6),
        ("```python\nprint(1)\n```\n```text output\n1\n```\n", None),
        ("```python\nprint(1)\n```\n```text output\n2\n```\n", 2),
        ("```python needs-nowhere\nassert 1 == 2\n```\n", None),
        ("```python needs-numpy\nassert 1 == 2\n```\n", 2),
        ("```sh\nfalse\n```\n", None),
        ("```sh run\nfalse\n```\n", 2),
        ("```python\nfor x in [1]:\n    y = x\n\nassert y == 1\n```\n", None),
        ("```python\nfor x in [1]:\n    y = x\nassert y == 1\n```\n", 4),
        ("```python no-run\nclass A:\n    x = 1\n\n    y = 2\n```\n", 5),
        ("[page](page.md)\n", None),
        ("\n[page](nowhere.md)\n", 2),
    ],
)
def test_examples_are_run(docs: ModuleType, tmp_path: Path, text: str, line: int | None) -> None:
    failed = check_page(docs, tmp_path, text)
    if line is None:
        assert failed == []
    else:
        assert len(failed) == 1
        assert f"page.md:{line}: " in failed[0]


@pytest.mark.parametrize(
    "text", ["```python\n", "```python runs\n```\n", "```text output\n1\n```\n"]
)
def test_wrong_marks_are_refused(docs: ModuleType, tmp_path: Path, text: str) -> None:
    with pytest.raises(SystemExit, match=r"page\.md:"):
        check_page(docs, tmp_path, text)


def test_a_pages_project_builds_its_programs(docs: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = docs.Block(page, 9, "cpp", "")
    page.write_text("```cmake\nfind_package(mpsnn)\n```\n", encoding="utf-8")
    assert docs.cmake_of(block) == (docs.CMAKE_LISTS, "example")
    project = "project(own)\nadd_executable(own main.cpp)\n"
    page.write_text(f"```cmake\n{project}```\n", encoding="utf-8")
    assert docs.cmake_of(block) == (project, "own")
    page.write_text("```cmake\nproject(own)\n```\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="makes no program"):
        docs.cmake_of(block)


def test_a_cpp_block_becomes_a_program(docs: ModuleType) -> None:
    assert (
        docs.cpp_program("#include <cmath>\nf();\n") == "#include <cmath>\nint main() {\nf();\n}\n"
    )
    whole = "int main() { return 0; }\n"
    assert docs.cpp_program(whole) == whole


HEADER = """
// SPDX-License-Identifier: MIT
namespace mpsnn {
class Helper;  // declared only
enum class Kind : int { ONE = 1, TWO };
struct Plain {
  std::map<int, bool> by_number = {}, others;
  std::function<bool()> ask;
};
/// Text with { a brace and a function().
class Thing final : public Plain, private Helper {
 public:
  explicit Thing(int size) : size_(size) {}
  Thing(const Thing&) = delete;
  int size() const noexcept { return size_ > 0 ? size_ : 0; }
  void set_size(int size);
  template <class F>
  void each(F&& function) const;
  struct Inner { int field = 0; };

 private:
  void hidden();
  int size_ = 0;
};
namespace detail { void internal(); }
Kind kind_of(const Thing& thing);
}  // namespace mpsnn
"""


def test_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    (tmp_path / "thing.h").write_text(HEADER)
    api = load("cpp_api").read_headers(tmp_path)
    assert set(api.classes) == {"Plain", "Thing", "Thing::Inner"}
    assert api.enums == {"Kind": {"ONE", "TWO"}}
    assert api.functions == {"kind_of"}
    functions, fields = api.members("Thing")
    assert functions == {"Thing", "size", "set_size", "each"}
    assert fields == {"by_number", "others", "ask"}
    assert api.classes["Thing"].constructors == 1


def test_what_only_python_has_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    (tmp_path / "thing.h").write_text(HEADER)
    api = load("cpp_api").read_headers(tmp_path)
    tool = load("check_api")
    node = ast.parse(
        "class Thing:\n"
        "    @property\n    def size(self): ...\n    @size.setter\n    def size(self, n): ...\n"
        "    @property\n    def ask(self): ...\n    def each(self): ...\n"
        "    def hidden(self): ...\n    def other(self): ...\n    def _own(self): ...\n"
    ).body[0]
    assert list(tool.compare_class(node, "_core.pyi", api)) == ["Thing.hidden", "Thing.other"]
