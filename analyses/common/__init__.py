"""What several analyses need: images, measurements kept on disk, refusals in one line, tables."""
