"""Two domains: how far apart they are (`shift`), and what is learned on one for the other (`adapt`)."""
