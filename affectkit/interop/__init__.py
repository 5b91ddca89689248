"""Published checkpoints and features in, ours out."""
