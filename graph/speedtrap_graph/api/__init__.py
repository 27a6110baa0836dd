"""GraphQL: convert, call a service, convert back."""
