"""One module for each program that takes part."""
