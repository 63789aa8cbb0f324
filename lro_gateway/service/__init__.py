"""What the gateway does: every verb once, caller first."""
