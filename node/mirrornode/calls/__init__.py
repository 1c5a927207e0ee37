"""The calls of `mirrornode.Client`, by what they are about; each module is a part of that class."""
