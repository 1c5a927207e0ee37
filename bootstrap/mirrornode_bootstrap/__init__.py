"""The always-on bootstrap program: a DHT server that keeps no blocks."""
