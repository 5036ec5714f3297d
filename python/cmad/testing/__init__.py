"""What tests and benchmarks share: `cases` (inputs of the ops) and `reference` (their meaning)."""
