"""Built-in pieces of the kind miner."""
