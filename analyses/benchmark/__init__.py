"""Parts of the probe's benchmark."""
