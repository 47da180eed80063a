"""The parts of `shortcut_powers.py`: measuring, figures and the page."""
