"""Frozen work: extraction, the exact probe, and its choice of stage, grid and image size."""
