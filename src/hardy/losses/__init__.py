"""Losses: what is maximised and minimised, one value per image."""
