"""The libp2p island: the only importer of libp2p and trio."""
