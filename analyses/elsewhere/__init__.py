"""The parts of `theory_elsewhere.py`: predictions about fully connected nets and transformers."""
