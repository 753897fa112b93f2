"""Domain adaptation: labelled source, unlabelled target. Importing this registers the methods."""
