"""Annotators: what is found in raw clips, and which are not used."""
