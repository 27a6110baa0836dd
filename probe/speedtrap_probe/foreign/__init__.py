"""What others wrote: made safe before it is repeated, and checked before it is believed."""
