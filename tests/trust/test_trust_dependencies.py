"""What we depend on: every package's licence is written down, and every file of the locks is held by its hash."""

import re

from licences import CHECKOUT, LOCKS, locked


def test_the_licence_of_every_locked_package_is_in_the_docs():
    page = (CHECKOUT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\S+) \| \S+ \| (\S[^|]*) \|", page, re.M))
    missing = [name for name in locked() if not rows.get(name, "").strip()]
    assert not missing, f"python tests/trust/licences.py --write; then: {missing}"
    assert "non-commercial" in page


def test_every_locked_package_is_pinned_and_hashed():
    for lock in LOCKS:
        text = (CHECKOUT / lock).read_text()
        blocks = re.split(r"\n(?=[A-Za-z0-9])", "\n" + "\n".join(
            line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")))[1:]
        assert len(blocks) > 10
        for block in blocks:
            assert re.match(r"[A-Za-z0-9._-]+==\S+", block) and "--hash=sha256:" in block, (lock, block[:80])


def test_the_terms_of_the_default_model_are_where_a_user_meets_them():
    from facesets.embed import packs
    assert "non-commercial" in packs.TERMS["buffalo_l"]
    assert "non-commercial" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
