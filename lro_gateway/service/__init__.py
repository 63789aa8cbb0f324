"""The verbs that every face calls; each verb takes the caller as its first argument."""
