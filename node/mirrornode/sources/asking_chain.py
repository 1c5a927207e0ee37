"""Which nodes a question has come through, so that nodes which are each other's origin notice it.

A node may have another node as its origin. With every question to an origin each names itself,
after those that it was asked through; one that finds its own name there answers 508 instead of
asking on. A name is made anew at each start and says nothing of who the node is. Only origins see
it, not the hosts that they redirect to.

The nodes that the present request came through go along in a context variable: what is asked on
behalf of it is asked by layers that know of no request, in tasks and threads of its context.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Mirrornode-Chain"
LOOP_STATUS = 508  # Loop Detected, RFC 5842
LEADS_BACK = (
    "leads back to this node: it, or an origin of it, has this node as its origin; "
    "change [[origin]] in one of them"
)
MAX_NODES = 8  # nobody builds longer chains on purpose

_NAME = re.compile(r"[0-9a-f]{16}", re.ASCII)

_through: ContextVar[tuple[str, ...]] = ContextVar("asked_through", default=())


def new_name() -> str:
    """Return a name for a node that has just started."""
    return secrets.token_hex(8)


def chain_of(header: str) -> tuple[str, ...]:
    """Return the nodes that a request names; what is no name of a node is left out."""
    names = [part.strip() for part in header.split(",", MAX_NODES + 1)[: MAX_NODES + 1]]
    return tuple(name for name in names if _NAME.fullmatch(name))


def leads_back(chain: tuple[str, ...], own_name: str) -> bool:
    """Tell whether a request must not be asked on: it came through this node, or too many."""
    return own_name in chain or len(chain) > MAX_NODES


@contextmanager
def asked_through(chain: tuple[str, ...]) -> Iterator[None]:
    """Let all questions of the block, and what it starts, name these nodes first."""
    before = _through.set(chain)
    try:
        yield
    finally:
        _through.reset(before)


def own_chain(own_name: str) -> str:
    """Return what a question to an origin carries now."""
    return ", ".join((*_through.get(), own_name))
