"""Position encoding: the contract of schemes, their settings, scalings and training positions."""
