"""What the service knows about lines, plans and breaches. Pure: values in, values out; no I/O, no clock."""
