"""What a mirror does, one use case per module."""
