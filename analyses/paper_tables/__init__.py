"""The parts of `tables_at_initialisation.py`: the cases of Tables 1 and 2, measuring, figures, the page."""
