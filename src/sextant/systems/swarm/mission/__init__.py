"""A mission: who flies where, stepped in one process or with a process a drone."""
