"""`check` as JUnit XML: a suite for each file, a failed case for each finding, one passed case for a clean file."""

from collections.abc import Sequence
from xml.etree import ElementTree as xml

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.report.check_concise import one
from ruleaudit.report.check_full import is_shown
from ruleaudit.report.wording import printable
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile


def render(reports: Sequence[FileReport], failed: Sequence[tuple[str, str]] = (), *, notes: bool = False) -> str:
    """The document; what could not be read is an error of its suite."""
    root = xml.Element("testsuites", name="ruleaudit")
    for report in reports:
        shown = [f for f in report.findings if notes or is_shown(f)]
        suite = _suite(root, report.source.path, max(len(shown), 1), len(shown), 0)
        for finding in shown:
            _case(suite, report.source, finding)
        if not shown:
            xml.SubElement(suite, "testcase", name="ruleaudit", classname=printable(report.source.path))
    for path, message in failed:
        suite = _suite(root, path, 1, 0, 1)
        case = xml.SubElement(suite, "testcase", name="ruleaudit", classname=printable(path))
        xml.SubElement(case, "error", message=printable(message))
    xml.indent(root)
    text = xml.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(root: xml.Element, path: str, tests: int, failures: int, errors: int) -> xml.Element:
    numbers = {"name": printable(path), "tests": str(tests), "failures": str(failures), "errors": str(errors)}
    return xml.SubElement(root, "testsuite", numbers)


def _case(suite: xml.Element, source: SourceFile, finding: Finding) -> None:
    place = source.position(finding.span.start)
    name = f"{finding.code} {finding.name} line {place.line}"
    case = xml.SubElement(suite, "testcase", name=name, classname=printable(place.path))
    level = "warning" if finding.severity is Severity.NOTE else finding.severity.value
    failure = xml.SubElement(case, "failure", message=printable(finding.message), type=level)
    failure.text = one(source, finding)
