"""Built-in pieces of the kind dataset."""
