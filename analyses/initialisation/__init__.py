"""The parts of `initial_gradients.py`: measuring, predictions, fits and verdicts, figures, words."""
