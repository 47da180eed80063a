"""The parts of `minus_one.py`: each sample's cancellation, and the page."""
