"""The `mirrornode` command: thin, one file per verb."""
