"""What rewards and curation get right, on public data."""
