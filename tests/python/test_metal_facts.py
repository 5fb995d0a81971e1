# SPDX-License-Identifier: MIT
"""tools/check_metal_facts finds what the headers do not have, in copies of the backend."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool, on copies."""
    loader = SourceFileLoader("check_metal_facts", str(ROOT / "tools/check_metal_facts"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    for name in ("SOURCES", "DOUBLE"):
        shutil.copytree(getattr(module, name), tmp_path / name)
        monkeypatch.setattr(module, name, tmp_path / name)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["check_metal_facts"])
    return module


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_all_is_declared(tool: ModuleType) -> None:
    assert tool.main() == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (  # an optional method: no compiler misses it
            "SOURCES/heaps.mm",
            "retireHeap:(id<MTLHeap>)heap cacheDelay:",
            "retireHeap:(id<MTLHeap>)heap cachedelay:",
            "MpsnnHeapProvider -retireHeap:cachedelay: is of no interface or protocol",
        ),
        (
            "SOURCES/fixed_weights.mm",
            "- (NSString*)label {",
            "- (NSString*)lable {",
            "MpsnnFixedWeights -lable is of no interface or protocol",
        ),
        (
            "SOURCES/nodes/loss.mm",
            "[descriptor setWeight:",
            "[descriptor setWeigth:",
            "nodes/loss.mm: setWeigth: is sent and not declared by the double",
        ),
        (
            "SOURCES/nodes/arithmetic.mm",
            "rightSource:swapped ?",
            "secondSource:swapped ?",
            "nodeWithLeftSource:secondSource: is sent and not declared by the double",
        ),
        (
            "SOURCES/objects.mm",
            "localizedDescription",
            "localisedDescription",
            "objects.mm: localisedDescription is sent and not declared by the double",
        ),
        (
            "DOUBLE/MetalPerformanceShaders/MPSNeuralNetwork.h",
            "@property(readwrite, nonatomic) NSUInteger inputFeatureChannels;",
            "@property(readonly, nonatomic) NSUInteger inputFeatureChannels;",
            "MPSCNNConvolutionDescriptor.inputFeatureChannels: readonly, in the headers readwrite",
        ),
    ],
)
def test_what_is_wrong_is_found(
    tool: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    problem: str,
) -> None:
    change(tmp_path / file, old, new)
    assert tool.main() == 1
    assert problem in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "selectors"),
    [
        ("[a b]", {"b"}),
        ("[[A alloc] initWithX:[b c] y:d[i] ? e : f]", {"alloc", "initWithX:y:", "c"}),
        ("[static_cast<B<C>*>(x) set:std::min(a, b)];", {"set:"}),
        ("[(*p)->made.get() go:^(id x) { return x ? [x y:1] : 2; }]", {"go:", "y:"}),
        ('[x say:@"[no such]" /* [nor this] */ to:y] // [nor that]', {"say:to:"}),
        ("x[i] + y[a * b] + z[f(c)] + [&, d](int e) { return e; }(1)", set()),
        ("[this, n = count] {}; @[ a, b ]; [[maybe_unused]] int c[2];", set()),
        ("if (a) [b setC:d < e ? 1 : 2];", {"setC:"}),
        ("respondsTo(@selector(go:to:))", {"go:to:"}),
    ],
)
def test_selectors_are_read(tool: ModuleType, text: str, selectors: set[str]) -> None:
    assert tool.sends(text) == selectors
