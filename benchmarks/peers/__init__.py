"""Other libraries in environments of their own, over one protocol."""
