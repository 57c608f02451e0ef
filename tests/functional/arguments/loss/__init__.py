"""Arguments for functions of losses, by sub-family as in `modgrad/functional/loss`."""
