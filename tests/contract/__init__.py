"""The contract: what every primitive is held to, over the table of `cases`."""
