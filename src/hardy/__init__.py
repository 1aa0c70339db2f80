"""Adversarial training that generalises, and robustness numbers one can trust."""
