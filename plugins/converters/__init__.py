"""Built-in pieces of the kind converter."""
