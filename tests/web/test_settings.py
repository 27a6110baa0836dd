"""Settings: what is wrong is named, and no secret is said aloud."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from speedtrap_web.settings import WebSettings


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("a-key-of-the-page\n", encoding="utf-8")
    settings = WebSettings.model_validate({"key_file": str(file)})
    assert settings.key.get_secret_value() == "a-key-of-the-page"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDTRAP_WEB_GRAPH_URL", "https://graph.example/base/")
    monkeypatch.setenv("SPEEDTRAP_WEB_PORT", "9000")
    settings = WebSettings()
    assert (settings.graph_url, settings.port) == ("https://graph.example/base", 9000)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"graph_url": "localhost:8000"}, "must be a base URL"),
        ({"graph_url": "http://user:password@host"}, "must hold no user name"),
        ({"session_secret": "short-secret"}, "at least 32 characters"),
        ({"key_file": "/nowhere/key"}, "cannot read /nowhere/key"),
        ({"key": "the-secret", "key_file": "/nowhere"}, "are both set"),
        ({"port": 70000}, "less than or equal to 65535"),
    ],
)
def test_a_bad_setting_is_named_and_no_secret_is_told(
    values: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        WebSettings.model_validate(values)
    assert problem in str(caught.value)
    assert "secret'" not in str(caught.value)
    assert "password@" not in str(caught.value)


def test_without_a_session_secret_each_process_makes_its_own() -> None:
    settings = WebSettings.model_validate({})
    assert settings.session_secret_or_random() != settings.session_secret_or_random()


@pytest.mark.parametrize("handle", ["two words", "a" * 16, "a&text=b"])
def test_a_providers_name_on_x_is_a_name_on_x(handle: str) -> None:
    with pytest.raises(ValidationError, match="provider_handle"):
        WebSettings(provider_handle=handle)
