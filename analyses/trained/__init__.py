"""Networks that were trained here: their runs, their weights, and probes of trained beside untrained."""
