"""Built-in pieces of the kind head."""
