"""Gradient ratios of units while networks of several depths train."""
