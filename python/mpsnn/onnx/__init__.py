# SPDX-License-Identifier: MIT
"""Graphs as ONNX models, and ONNX models as graphs. Needs the package `onnx`.

pip install "mpsnn[onnx]"
"""

from __future__ import annotations

from mpsnn.files import optional_module

optional_module("onnx", "onnx", "mpsnn.onnx")

from mpsnn.onnx.exporter import export_model  # noqa: E402 (says first what is missing)
from mpsnn.onnx.importer import ImportedModel, import_model  # noqa: E402

__all__ = ["ImportedModel", "export_model", "import_model"]
