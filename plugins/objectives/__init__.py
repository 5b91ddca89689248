"""Built-in pieces of the kind objective."""
