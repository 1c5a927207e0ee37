"""Codecs and state machines of our protocols. No I/O."""
