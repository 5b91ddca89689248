"""Built-in pieces of the kind metric."""
