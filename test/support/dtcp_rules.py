"""A pytest plugin: @pytest.mark.dtcp("AREA.RULE", ...) names the rules of test/conformance/rules.toml that a test proves.
With --list-rules=FILE it writes which test proves what, one line each: file, test, rule; tabs between them."""


def pytest_addoption(parser):
    parser.addoption("--list-rules", metavar="FILE", help="with --collect-only: write file, test and rule to FILE")


def pytest_configure(config):
    config.addinivalue_line("markers", "dtcp(rule, ...): the rules of test/conformance/rules.toml that the test proves")


def pytest_collection_finish(session):
    path = session.config.getoption("--list-rules")
    if path is None:
        return
    lines = dict.fromkeys(f"{item.path}\t{item.originalname}\t{rule}\n" for item in session.items
                          for marker in item.iter_markers("dtcp") for rule in marker.args)
    with open(path, "w", encoding="utf-8") as output:
        output.writelines(lines)
