"""The HTTP API of a replica."""
