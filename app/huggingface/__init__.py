"""Hugging Face folders: scored and generated from as they are; written from a run."""
