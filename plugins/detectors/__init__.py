"""Built-in pieces of the kind detector."""
