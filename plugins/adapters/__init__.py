"""Built-in pieces of the kind adapter."""
