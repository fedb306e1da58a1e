"""Tests that ask the kernel, in network namespaces of their own."""
