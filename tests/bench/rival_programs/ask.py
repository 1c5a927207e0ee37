"""Ask a resident program to do something and wait until it is done: the command that is timed.

    python -I -S ask.py SOCKET WORD...

It stands for the small client program that a daemon has, and starts as fast as one.
"""

import socket
import sys


def main() -> None:
    """Ask, wait, and end with 1 and the reason when it did not work."""
    path, *words = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        stream.sendall("\x1f".join(words).encode() + b"\n")
        answer = stream.makefile().readline()
    if answer != "ok\n":
        sys.exit(answer.strip() or "the resident program ended")


if __name__ == "__main__":
    main()
