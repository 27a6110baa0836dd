"""Requests before they are GraphQL: who asks, how much, how fast, and packed how."""
