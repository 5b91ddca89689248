"""Stages, checkpoints, resume, the run folder."""
