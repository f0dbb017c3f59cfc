"""Kill, chaos and hostile programs: nothing may be lost."""
