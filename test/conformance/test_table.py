"""The table of rules notices what it is there to notice."""

import pytest
from conformance import Proof, Rule, Wrong, load_rules, proofs, write_page

AREAS = {"1": "One"}
DONE = Rule("1.done", "what is done", "draft")
OPEN = Rule("1.open", "what is not", "draft", open="all of it")


def test_a_rule_without_a_test_is_an_error_and_one_that_is_open_is_not():
    proof = Proof("a_test.cc", "it holds")
    assert proofs([DONE, OPEN], [(proof, "1.done")]) == {"1.done": [proof], "1.open": []}
    with pytest.raises(Wrong, match="1.done: no test"):
        proofs([DONE, OPEN], [(proof, "1.open")])


def test_a_test_that_names_no_rule_is_an_error():
    proof = Proof("a_test.cc", "it holds")
    with pytest.raises(Wrong, match='a_test.cc: "it holds" names the rule 1.gone'):
        proofs([DONE], [(proof, "1.done"), (proof, "1.gone")])


def test_a_test_that_is_renamed_or_moved_changes_the_page():
    pages = {write_page(AREAS, [DONE, OPEN], proofs([DONE, OPEN], [(proof, "1.done")]))
             for proof in (Proof("a_test.cc", "it holds"), Proof("a_test.cc", "it still holds"), Proof("b_test.cc", "it holds"))}
    assert len(pages) == 3
    assert all("all of it" in page for page in pages)


@pytest.mark.parametrize("rule", ['id = "2.x"\nrule = "r"\nsource = "s"', 'id = "1.X y"\nrule = "r"\nsource = "s"',
                                  'id = "1.x"\nrule = "r"', 'id = "1.x"\nrule = "r"\nsource = "s"\nwhere = "w"',
                                  'id = "1.done"\nrule = "r"\nsource = "s"'])
def test_rules_of_a_wrong_form_are_refused(tmp_path, monkeypatch, rule):
    monkeypatch.setattr("conformance.ROOT", tmp_path)
    file = tmp_path / "rules.toml"
    good = '[areas]\n1 = "One"\n[[rule]]\nid = "1.done"\nrule = "r"\nsource = "s"\n'
    file.write_text(good)
    assert load_rules(file)[1] == [Rule("1.done", "r", "s")]
    file.write_text(f"{good}[[rule]]\n{rule}\n")
    with pytest.raises(Wrong):
        load_rules(file)
