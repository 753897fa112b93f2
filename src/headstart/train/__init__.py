"""One loop for every method: batches, feeds, objectives, updates, phases, checkpoints."""
