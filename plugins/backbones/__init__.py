"""Built-in pieces of the kind backbone."""
