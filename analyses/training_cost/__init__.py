"""Loops that training is compared with."""
