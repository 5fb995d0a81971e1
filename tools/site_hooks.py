# SPDX-License-Identifier: MIT
"""What the documentation site does to a page before it is rendered.

The second word of a fence ("python continue") is for tools/check_docs.py: only the language is
shown.
"""

from __future__ import annotations

import re

FENCE = re.compile(r"^(```\w+) [\w -]+$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Takes the second words off.

    Args:
        markdown: A page.

    Returns:
        The page as MkDocs can read it.
    """
    return FENCE.sub(r"\1", markdown)
