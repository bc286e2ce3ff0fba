"""The conformance table, docs/conformance.md: each rule of DTCP and the tests that prove it.

The rules are in test/conformance/rules.toml. A test says itself which of them it proves: a Catch2 test by tags like
[dtcp:3.hmac-raw-bytes], a pytest function by @pytest.mark.dtcp("3.hmac-raw-bytes"). Which tests there are, Meson, the
test programs and pytest are asked: what is not run proves nothing. Without --write it checks: a rule without a test,
a test of a rule that does not exist, or a page that is not the one that it would write is an error.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "test" / "conformance" / "rules.toml"
PAGE = ROOT / "docs" / "conformance.md"

HEAD = """# Conformance to DTCP

<!-- Generated from test/conformance/rules.toml and the tests by `ninja -C BUILD update-conformance`. Do not edit. -->

What the box does of DTCP (draft-cavuto-dtcp-03, versions 0.5 to 0.7) with Juniper's Flow-Tap extensions and version 0.8,
and which tests prove it. A test names its rules itself, by a tag or marker; `tools/test` fails where a rule has no test,
a test names no rule, or this page says something else. Where from: *draft*, *Flow-Tap* (Juniper's extensions to it),
*Junos* (what its server or real clients do), *flowtap* (where these leave a choice).

"""


class Wrong(Exception):
    """What to tell whoever changed a rule or a test."""


@dataclasses.dataclass(frozen=True)
class Rule:
    id: str
    rule: str
    source: str
    open: str = ""  # what is missing; empty: nothing

    @property
    def area(self):
        return self.id.partition(".")[0]


@dataclasses.dataclass(frozen=True, order=True)
class Proof:
    file: str
    name: str


def load_rules(path=RULES):
    """({area: title}, [Rule]), checked for form."""
    content = tomllib.loads(path.read_text())
    areas, rules, problems = content["areas"], [], []
    for entry in content["rule"]:
        try:
            rules.append(Rule(**entry))
        except TypeError as error:
            problems.append(f"{entry.get('id', entry)}: {error}")
    for rule in rules:
        if not re.fullmatch(r"[0-9]+\.[a-z0-9-]+", rule.id) or rule.area not in areas:
            problems.append(f"{rule.id}: not AREA.NAME with an area of [areas]")
    problems += [f"{name}: twice" for name, count in collections.Counter(rule.id for rule in rules).items() if count > 1]
    if problems:
        raise Wrong("\n".join(f"{path.relative_to(ROOT)}: {problem}" for problem in problems))
    return areas, rules


def lines_of(text, folder):
    """[(Proof, rule id)] of lines that hold file, test and rule; files are relative to the folder."""
    found = []
    for line in text.splitlines():
        file, name, rule = line.split("\t")
        found.append((Proof(os.path.relpath(folder / file, ROOT), name), rule))
    return found


def ask_tests(build):
    """[(Proof, rule id)] of all tests that Meson runs."""
    found, scripts = [], []
    for test in json.loads((build / "meson-info" / "intro-tests.json").read_text()):
        command = test["cmd"]
        if pathlib.Path(command[0]).name.startswith("unit-"):
            listed = subprocess.run([command[0], "--list-rules"], check=True, capture_output=True, text=True).stdout
            found += lines_of(listed, build)
        elif pathlib.Path(command[0]).name == "run-pytest":
            scripts += [word for word in command[2:] if word.endswith(".py") and "mark.dtcp" in pathlib.Path(word).read_text()]
    if scripts:
        with tempfile.TemporaryDirectory() as folder:
            listed = pathlib.Path(folder) / "rules"
            done = subprocess.run([ROOT / "test" / "run-pytest", "conformance", *scripts, "--collect-only", f"--list-rules={listed}"],
                                  check=False, capture_output=True, text=True,
                                  env={key: value for key, value in os.environ.items() if key != "FLOWTAP_JUNIT_DIR"})
            if done.returncode:
                raise Wrong(f"pytest cannot collect the tests:\n{done.stdout}{done.stderr}")
            found += lines_of(listed.read_text(), pathlib.Path("/"))
    return found


def proofs(rules, found):
    """{rule id: [Proof]}; an error if a test names no rule, or nothing proves a rule that is not open."""
    proved = {rule.id: set() for rule in rules}
    problems = []
    for test, rule in found:
        if rule in proved:
            proved[rule].add(test)
        else:
            problems.append(f'{test.file}: "{test.name}" names the rule {rule}, which is not in {RULES.relative_to(ROOT)}')
    problems += [f"{rule.id}: no test proves it: {rule.rule}" for rule in rules if not rule.open and not proved[rule.id]]
    if problems:
        raise Wrong("\n".join(problems))
    return {rule: sorted(tests) for rule, tests in proved.items()}


def cell(text):
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def row(*cells):
    return "| " + " | ".join(cells) + " |\n"


def prove(tests):
    return "<br>".join(f"{cell(test.name)} ([{pathlib.Path(test.file).name}](../{test.file}))" for test in tests)


def write_page(areas, rules, proved):
    done = [rule for rule in rules if not rule.open]
    count = len({test for rule in done for test in proved[rule.id]})
    page = HEAD + f"{len(done)} rules, proved by {count} tests; {len(rules) - len(done)} not wholly done, which are at the end.\n"
    for area, title in areas.items():
        page += f"\n## {area}. {title}\n\n" + row("rule", "what", "where from", "proved by") + "|---|---|---|---|\n"
        page += "".join(row(f"`{rule.id}`", cell(rule.rule), cell(rule.source), prove(proved[rule.id]))
                        for rule in done if rule.area == area)
    page += "\n## Not (wholly) done\n\n" + row("rule", "what", "where from", "what is missing", "what is proved") + "|---|---|---|---|---|\n"
    page += "".join(row(f"`{rule.id}`", cell(rule.rule), cell(rule.source), cell(rule.open), prove(proved[rule.id]))
                    for rule in rules if rule.open)
    return page


def main():
    parser = argparse.ArgumentParser(prog="conformance.py", description="Checks or writes docs/conformance.md.")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="the build folder (default: build)")
    parser.add_argument("--write", action="store_true", help="write the page instead of checking it")
    arguments = parser.parse_args()
    try:
        areas, rules = load_rules()
        page = write_page(areas, rules, proofs(rules, ask_tests(arguments.build)))
        if arguments.write:
            PAGE.write_text(page)
        elif not PAGE.exists() or PAGE.read_text() != page:
            raise Wrong(f"{PAGE.relative_to(ROOT)} is not what the rules and tests say: "
                        f"`ninja -C {arguments.build} update-conformance` writes it anew")
    except Wrong as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
