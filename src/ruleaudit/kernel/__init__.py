"""The kernel as judge: rulesets loaded for real in network namespaces of their own, and packets sent through them."""
