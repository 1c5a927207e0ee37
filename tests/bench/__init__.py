"""Whole-command comparison with other programs: `make bench`."""
