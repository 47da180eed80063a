"""What the benchmarks share: passes to compare, timing in turn, and pages."""
