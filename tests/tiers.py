"""What a run of the tests left out, and how to run it; hooks for conftest.py."""

import pytest

# By the tests that a tier takes, what it leaves out.
OTHER = {
    "not full": "of the full tier were left out: `make test-full` runs them",
    "full": "of the quick tier were left out: `make test` runs them",
}
NO_CHROMIUM = "no Chromium on this machine"
_left_out = pytest.StashKey[int]()


def leave_quick_cases(items: list[pytest.Item]) -> None:
    """Take the one case that stays quick out of the full tier: `full(but="its id")`."""
    for item in items:
        mark = item.get_closest_marker("full")
        case = getattr(item, "callspec", None)
        if mark and case and case.id == mark.kwargs.get("but"):
            item.own_markers.remove(mark)


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        config = items[0].config
        config.stash[_left_out] = config.stash.get(_left_out, 0) + len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that shares the tests out; all that share them leave out the
    same."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = config.stash.get(_left_out, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    told = getattr(node, "workeroutput", {})
    node.config.stash[_left_out] = told.get("left_out", 0)


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Say what was left out."""
    number = config.stash.get(_left_out, 0)
    tier = OTHER.get(config.option.markexpr)
    if tier and number:
        terminalreporter.write_line(f"{number} tests {tier}.")
    skipped = terminalreporter.stats.get("skipped", [])
    pages = sum(NO_CHROMIUM in str(report.longrepr) for report in skipped)
    if pages:
        terminalreporter.write_line(
            f"{pages} tests of the page were left out: install Chromium (Debian's "
            "chromium-headless-shell), or name it in REGRAIN_CHROMIUM."
        )
