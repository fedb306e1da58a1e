"""`check` as JSON lines: one finding of schema ruleaudit/1 in each line, for tools that read a stream."""

import json
from collections.abc import Sequence

from ruleaudit.report.check_json import findings
from ruleaudit.report.schema import SCHEMA
from ruleaudit.results import FileReport


def render(reports: Sequence[FileReport]) -> str:
    """One object for each finding."""
    lines = (json.dumps({"schema": SCHEMA, **f}, ensure_ascii=False) for r in reports for f in findings(r))
    text = "".join(line + "\n" for line in lines)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
