"""Spaces of metaparameters: combinations computed by index, never held in memory."""
