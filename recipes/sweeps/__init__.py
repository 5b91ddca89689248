"""Sweeps: variants of a recipe for `affectkit sweep`."""
