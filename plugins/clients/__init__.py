"""Built-in pieces of the kind client."""
