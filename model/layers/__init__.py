"""The layers of a decoder: blocks and their parts, and running them all."""
