"""The mesh surface: the control plane of Nebula overlay networks."""
