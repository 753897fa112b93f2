"""Domain adaptation: labelled source, unlabelled target. Importing this registers the methods."""

from headstart.adapt import deep, shallow

__all__ = ["deep", "shallow"]
