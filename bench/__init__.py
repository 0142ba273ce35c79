"""Measurements side by side with the raw client, on the same broker in the same run."""
