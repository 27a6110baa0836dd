"""What runs bring from outside, before it is stored."""
