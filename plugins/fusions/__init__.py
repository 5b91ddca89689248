"""Built-in pieces of the kind fusion."""
