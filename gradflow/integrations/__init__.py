"""Where gradflow meets other people's tools."""
