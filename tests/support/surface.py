"""The admin surface as the reference lists it."""

ENDPOINTS = (
    ("POST", "/setup"),
    ("POST", "/update"),
    ("GET", "/update"),
    ("GET", "/update/log"),
    ("GET", "/logs"),
    ("GET", "/debug"),
    ("GET", "/reboot"),
    ("GET", "/services"),
    ("GET", "/version"),
    ("GET", "/changelog"),
    ("GET", "/build"),
    ("GET", "/health"),
    ("GET", "/endpoints"),
    ("POST", "/settings"),
    ("GET", "/settings"),
    ("POST", "/certs"),
    ("GET", "/certs"),
    ("POST", "/license"),
    ("GET", "/license"),
    ("POST", "/storage"),
    ("GET", "/storage"),
    ("POST", "/backup"),
    ("GET", "/backup"),
    ("GET", "/backup/download"),
    ("GET", "/backup/log"),
    ("POST", "/backup/restore"),
)
"""Method and path of every endpoint."""

REFUSED = {"Status": "403 Forbidden", "Error-Message": "Authentication error"}
"""The body of a refusal, where the first run is off."""
