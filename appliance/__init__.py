"""An appliance's management service: its APIs over one HTTPS port, in one Twisted process."""

__version__ = "0.1.0"
