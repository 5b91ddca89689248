"""Built-in pieces of the kind prompt."""
