"""Rows of the table: losses, by sub-family as in `modgrad/nn/loss`."""
