"""The same readings inside somebody else's training loop."""
