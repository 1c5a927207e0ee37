"""Moving into a network namespace by its name, as `ip netns exec` does it."""

from __future__ import annotations

import ctypes

EXEC = ("ip", "netns", "exec")  # what goes before a name and a command that runs there
CLONE_NEWNET = 0x40000000  # of <linux/sched.h>; os.setns came with Python 3.12


def enter_network(name: str) -> None:
    """Let the sockets that this thread, or a process of one thread, opens from now on be there.

    Raises:
        OSError: There is no such namespace, or it is not allowed.
    """
    with open(f"/var/run/netns/{name}") as place:
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
