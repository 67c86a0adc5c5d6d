"""The network of this machine: interfaces, addresses, bridges, VLANs, and changes that can be taken back."""
