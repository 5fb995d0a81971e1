# SPDX-License-Identifier: MIT
"""Applications: whole programs that double as the examples to learn from."""
