"""What we learn from: loading, schema, splits, duplicates, augmentation, samples."""
