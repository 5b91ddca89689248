"""Built-in pieces of the kind encoder."""
