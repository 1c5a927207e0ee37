"""The round trip of a TCP connection, as the kernel has measured it: asking it sends nothing.

Source: `struct tcp_info` of Linux, `tcpi_rtt` and `tcpi_min_rtt` in microseconds. Elsewhere nothing
is known.
"""

from __future__ import annotations

import socket
import struct
import sys

_RTT_OFFSET = 68
_MIN_RTT_OFFSET = 148  # since Linux 4.6; lower, because it holds no queues that bulk bytes fill
_UNKNOWN = 0xFFFF_FFFF  # the kernel's, before the first acknowledgement


def round_trip_s(sock: socket.socket | None) -> float | None:
    """Return the shortest round trip so far, the smoothed one on old kernels, None if unknown."""
    if sock is None or sys.platform != "linux":
        return None
    try:
        status = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_OFFSET + 4)
    except OSError:
        return None  # closed meanwhile, or no TCP
    for offset in (_MIN_RTT_OFFSET, _RTT_OFFSET):
        if len(status) >= offset + 4:
            micros = int(struct.unpack_from("I", status, offset)[0])
            if 0 < micros < _UNKNOWN:
                return micros / 1e6
    return None
