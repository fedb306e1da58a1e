"""One file for each output format of each command; the only package besides `cli` that knows the terminal.

check     full, concise, json, jsonl, github, gitlab, sarif, junit, markdown, html (check_*);
          check_summary for standard error
suggest   full (suggest_text with applying), diff (diff), json (suggest_json), html (suggest_html);
          a script that applies the rewrite (script)
explain   full (explain_text), json (explain_json)
verify    full (verify_text), json (verify_json)
          what the kernel did (kernel_text, kernel_json), in both
          pages are made of html_page, html_ruleset, html_answer, packet_path, and the templates
capacity  full (capacity_text), json (capacity_json)
show      source (the tree itself), json (show_json)
"""

#: the formats of each command, the default first
FORMATS: dict[str, tuple[str, ...]] = {
    "check": ("full", "concise", "json", "jsonl", "github", "gitlab", "sarif", "junit", "markdown", "html"),
    "suggest": ("full", "json", "html"),
    "explain": ("full", "json"),
    "verify": ("full", "json"),
    "capacity": ("full", "json"),
    "show": ("full", "json"),
}
