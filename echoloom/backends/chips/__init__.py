"""What an engine takes of a chip."""
