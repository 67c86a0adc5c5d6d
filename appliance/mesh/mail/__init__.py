"""Mail: invitations go out by the mail server of the settings."""
