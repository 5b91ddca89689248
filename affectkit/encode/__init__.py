"""Steps over a batch; frozen ones run once and are cached."""
