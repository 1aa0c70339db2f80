"""Commands, one file each; flags.py and console.py serve them all."""
