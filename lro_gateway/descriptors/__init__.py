"""What messages mean: where descriptors come from, the pools they live in, and ProtoJSON."""
