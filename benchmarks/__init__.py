"""What thalweg and its neighbours cost, in gradients: `make bench` writes RESULTS.md here."""
