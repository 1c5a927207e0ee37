"""The version, in a module that imports nothing: the build reads it, and so may every layer."""

__version__ = "0.1.0"
