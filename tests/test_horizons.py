"""Which horizons are wanted: the setting, its faults, and what automatic means."""

import pytest

from crypto_rti.horizons import LEAST_MEMORY, machine_memory, wanted_horizons, wants_minutes
from crypto_rti.settings import HORIZONS, SettingsError, load_settings, settings_environment


@pytest.mark.parametrize(
    "given, read",
    [("60", (60,)), ("5,15,30,60", HORIZONS), ("60 15", (15, 60)), ("60,60", (60,)), ("", ()), (" 60 ,5", (5, 60)), ((60, 30), (30, 60)), ([], ())],
)
def test_the_setting_is_a_set_of_horizons(monkeypatch, given, read):
    assert load_settings(horizons=given).horizons == read
    if isinstance(given, str):
        monkeypatch.setenv("CRYPTO_RTI_HORIZONS", given)
        assert load_settings().horizons == read


@pytest.mark.parametrize("given", ["5,15", "15", "60,45", "sixty", "60;15", "60.0", "-60", "٦٠", "60 0"])
def test_a_bad_value_is_refused_with_a_remedy(monkeypatch, given):
    monkeypatch.setenv("CRYPTO_RTI_HORIZONS", given)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"CRYPTO_RTI_HORIZONS={given!r}" in str(caught.value) and "60 among them, such as 60 or 5,15,30,60" in str(caught.value)


def test_automatic_needs_minutes_and_memory():
    settings = load_settings(horizons="")
    assert wanted_horizons(settings, True, LEAST_MEMORY) == HORIZONS
    assert wanted_horizons(settings, False, 2 * LEAST_MEMORY) == wanted_horizons(settings, True, LEAST_MEMORY - 1) == (60,)
    assert not wants_minutes(settings) and not wants_minutes(load_settings(horizons="60"), True)


@pytest.mark.parametrize("has_minutes", [True, False])
def test_a_named_horizon_is_taken_as_it_is(has_minutes):
    assert wanted_horizons(load_settings(horizons="60"), has_minutes, 2**40) == (60,)
    assert wanted_horizons(load_settings(horizons="60,5"), has_minutes, 1) == (5, 60)
    assert wants_minutes(load_settings(horizons="60,5"))


def test_a_container_limits_the_memory(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("crypto_rti.horizons._LIMITS", (tmp_path / "absent", limit))
    for content, memory in (("max\n", None), ("1000000\n", 10**6)):
        limit.write_text(content)
        assert machine_memory() == memory or (memory is None and machine_memory() > 10**6)


def test_a_child_process_gets_the_same_horizons(monkeypatch):
    for given in ("", "15,60"):
        settings = load_settings(horizons=given)
        for name, value in settings_environment(settings).items():
            monkeypatch.setenv(name, value)
        assert load_settings().horizons == settings.horizons
