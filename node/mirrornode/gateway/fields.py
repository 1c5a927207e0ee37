"""Fields of a JSON object that a client sent, checked for their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from mirrornode.errors import TargetError

MAX_TEXTS = 100_000

T = TypeVar("T")


def field(fields: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Return one field, None when it is not there.

    Raises:
        TargetError: It is of another kind.
    """
    value = fields.get(name)
    if value is not None and not isinstance(value, kind):
        raise TargetError(f"{name} must be a {kind.__name__}")
    return value


def texts(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts, empty when it is not there.

    Raises:
        TargetError: It is something else, or too long.
    """
    values = fields.get(name) or []
    if (
        not isinstance(values, list)
        or len(values) > MAX_TEXTS
        or not all(isinstance(value, str) for value in values)
    ):
        raise TargetError(f"{name} must be a list of texts")
    return values
