"""Prompts and blocks to one packed row, the row to a loss."""
