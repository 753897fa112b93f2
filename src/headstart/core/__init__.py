"""What every room stands on: errors, the method registry, seeding, progress. Imports nothing heavy."""
