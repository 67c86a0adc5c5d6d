"""Nebula's certificates, made and read in process: no tool is run for them."""
