"""Property tests draw the same examples in every run: a failure is never a matter of luck."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same-every-run", derandomize=True, database=None)
settings.load_profile("same-every-run")
