"""Measuring what a report costs: records to make it of, and the process and the page that are timed."""
