"""The race: our optimizers against those people use, by time to a training loss."""
