"""Weights of Hugging Face folders: read into a decoder's parameters, and written from them.

A family of models is one file in `families/`: a codec between its config.json and the fields of
`ModelConfig`, and a table between its tensors and our leaves. A table moves rows and transposes; it
computes nothing, so that what is read and written again has the same bytes. Nothing here runs code
of a folder, and no pickle is opened.
"""
