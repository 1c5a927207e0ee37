"""Content addressing: CIDs, blocks, dag-pb, UnixFS, chunking and walking. No I/O."""
