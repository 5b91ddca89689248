"""Readers: what an answer in words says."""
