# SPDX-License-Identifier: MIT
"""Drawings of graphs and plans with Graphviz."""

from __future__ import annotations

import shutil
import subprocess

from mpsnn._core import InternalError, UnsupportedError


def svg(source: str) -> str:
    """Draws Graphviz source.

    Args:
        source: What `Graph.dot` or `Graph.plan_dot` returned.

    Returns:
        The drawing as SVG.

    Raises:
        UnsupportedError: Graphviz' program `dot` is not installed.
        InternalError: It refused the source.
    """
    program = shutil.which("dot")
    if program is None:
        raise UnsupportedError(
            "svg: expected Graphviz' program `dot` in the path, got none; install Graphviz, or "
            "take `Graph.dot()` and draw it elsewhere"
        )
    done = subprocess.run(
        [program, "-Tsvg"], input=source.encode(), capture_output=True, check=False
    )
    if done.returncode != 0:
        raise InternalError(f"svg: dot refused the graph: {done.stderr.decode().strip()}")
    return done.stdout.decode()
