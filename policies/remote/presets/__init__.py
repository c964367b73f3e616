"""Mappings of published checkpoints and known servers, one a file."""
