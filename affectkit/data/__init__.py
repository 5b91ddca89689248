"""Samples of a split; media files to frames, faces and sound."""
