"""Gradient flow: the path that θ̇ = −∇L takes, exactly or to a tolerance."""
