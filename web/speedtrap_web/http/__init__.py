"""Sessions, forms, headers and caching: HTTP without any page."""
