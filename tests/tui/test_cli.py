"""The command: what it is told wrongly it says in one sentence."""

import pytest
from click.testing import CliRunner

from tui.cli import tui


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "gateway:8470"], "'gateway:8470' is not the URL of a gateway; write it like http://127.0.0.1:8470"),
        (["--url", "http://a:b"], "is not a URL (Invalid port: 'b'); write it like http://127.0.0.1:8470"),
        (["--lang", "fr"], "'fr' is not one of 'zh', 'en'"),
        ([], "the terminal needs a screen and a keyboard: run it without pipes or redirection"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(tui, arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_help_names_the_defaults() -> None:
    result = CliRunner().invoke(tui, ["--help"])
    assert result.exit_code == 0
    assert "http://127.0.0.1:8470" in result.output
