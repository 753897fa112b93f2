"""Frozen work, done once: extraction, pooling, the exact probe and its choice of stage, grid and size."""
