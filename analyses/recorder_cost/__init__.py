"""What a recorder's measured step costs, beside other tools on the same work."""
