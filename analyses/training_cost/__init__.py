"""Loops that training is compared with, and the timing of both."""
