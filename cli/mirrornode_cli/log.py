"""Where the library's log goes: users read results and events, so it is quiet by default.

A program that runs for long (`serve`, `bootstrap`) shows warnings; MIRRORNODE_DEBUG=1 shows
everything, for every verb.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

DEBUG_VARIABLE = "MIRRORNODE_DEBUG"
_PACKAGES = ("mirrornode", "mirrornode_bootstrap")
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def is_debugging() -> bool:
    """Return whether the user asked to see everything."""
    return os.environ.get(DEBUG_VARIABLE) == "1"


@contextmanager
def quiet_log() -> Iterator[None]:
    """Keep the log off stderr while a verb runs, unless the user is debugging."""
    with _handler(_to_stderr() if is_debugging() else logging.NullHandler()):
        yield


@contextmanager
def service_log() -> Iterator[None]:
    """Show warnings on stderr while a long-lived program runs; inside `quiet_log`."""
    with _handler(logging.NullHandler() if is_debugging() else _to_stderr()):
        yield


@contextmanager
def _handler(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG if is_debugging() else logging.WARNING)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _to_stderr() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    return handler
