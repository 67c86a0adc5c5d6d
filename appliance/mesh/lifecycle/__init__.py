"""What goes on by itself: certificates are renewed, CAs change, what has ended is forgotten."""
