"""What `jacobian_spectra.py` is made of."""
