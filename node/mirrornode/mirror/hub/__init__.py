"""Hugging Face repos: names, access, and files from peers first."""
