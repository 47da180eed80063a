"""What `paths_and_lesions.py` is made of."""
