"""Access: the identity of callers, and the policy on their actions."""
