"""What is wrong with an expression."""

from __future__ import annotations


class PromqlError(ValueError):
    """An expression is outside the subset, or has no value over these samples; str() is one
    sentence. It may quote the expression, which is not trusted."""
