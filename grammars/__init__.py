"""The languages that ruleaudit reads, as lark grammars; loaded with importlib.resources."""
