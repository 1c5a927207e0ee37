"""What this node keeps: the catalog, references to the user's files, small blocks."""
