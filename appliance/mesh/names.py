"""
What names may be (mesh contract, "names"), as regular expressions of JSON Schema.

`$(?!\\n)` is the end: `$` alone also comes before a last line feed in Python.
"""

HOSTNAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$(?!\n)"
NAME = r"^(?!-)(?!\.{1,2}$)[^/\\\x00-\x1f\x7f'\"`]{1,253}$(?!\n)"
GROUP = r"^(?!-)(?!\.{1,2}$)[^/\\\x00-\x1f\x7f'\"`, ]{1,253}$(?!\n)"
GROUP_OR_NONE = r"^$(?!\n)|" + GROUP
