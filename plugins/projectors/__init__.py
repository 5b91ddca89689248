"""Built-in pieces of the kind projector."""
