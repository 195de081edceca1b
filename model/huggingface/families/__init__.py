"""Families of models: a file each, named as its `model_type`."""
