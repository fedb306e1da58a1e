"""One file for each output format of each command; the only package besides `cli` that knows the terminal.

check     full, concise, json, jsonl, github, gitlab, sarif, junit, markdown (check_*); check_summary for standard error
suggest   full (suggest_text with applying), diff (diff), json (suggest_json)
explain   full (explain_text), json (explain_json)
verify    full (verify_text), json (verify_json)
          what the kernel did (kernel_text, kernel_json), in both
show      source (the tree itself), json (show_json)
"""

#: the formats of each command, the default first
FORMATS: dict[str, tuple[str, ...]] = {
    "check": ("full", "concise", "json", "jsonl", "github", "gitlab", "sarif", "junit", "markdown"),
    "suggest": ("full", "json"),
    "explain": ("full", "json"),
    "verify": ("full", "json"),
    "show": ("full", "json"),
}
