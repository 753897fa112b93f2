"""What lies on disk: atomic files, run folders, bundles, and what is fetched from wheels."""
