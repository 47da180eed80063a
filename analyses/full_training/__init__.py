"""The queue of full training runs, and the table of published and own results."""
