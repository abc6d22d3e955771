from tests.detail.objects import deployment, pod
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.fakes import FakePhase
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_serving_page import FIRST_POD, open_page


async def test_loading_says_how_far_it_is():
    source = fakes.FakeSource(state=fakes.FakeState(FakePhase.LISTING, loaded=500, remaining=4500))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "Loading servings  500 of 5,000", "loading 500 of 5,000")
        source.add_views(*fakes.fleet())
        await wait_for_text(pilot, "llama-70b-chat", "loading 500 of 5,000")
        source.set_state(phase=FakePhase.LIVE)
        await wait_for_text(pilot, "✓ live")


async def test_an_empty_cluster_says_what_would_appear():
    app = make_app(fakes.FakeSource())
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(
            pilot, "No servings in any namespace of prod-seoul.", "servedeck.dev/serving"
        )


async def test_an_empty_namespace_says_where_the_servings_are():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, favorites=("empty",))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("1")
        await wait_for_text(pilot, "No servings in namespace empty, 11 in others.", "0 shows all")


async def test_a_filter_that_matches_nothing_says_how_to_clear_it():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"zzz")
        await wait_for_text(
            pilot, "None of 11 servings matches the filter zzz", "esc clears the filter"
        )


async def test_forbidden_names_the_verb_and_the_resource():
    source = fakes.FakeSource(
        state=fakes.FakeState(
            FakePhase.FORBIDDEN,
            "You may not list deployments.apps in any namespace; ask for that permission or choose"
            " a namespace.",
        )
    )
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "You may not list deployments.apps", ":ns NAME", "✗ forbidden")


async def test_what_may_not_be_read_is_named_while_the_rest_works():
    source = fakes.FakeSource(
        state=fakes.FakeState(missing_permissions=("list events", "list replicasets"))
    )
    source.add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "Not allowed to list events, list replicasets", "llama-70b-chat")


async def test_clocks_that_differ_are_named_beside_what_may_not_be_read():
    sentence = "The clock here is 8m ahead of the API server's; ages use the server's time."
    source = fakes.FakeSource(state=fakes.FakeState(clock_warning=sentence))
    source.add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "! The clock here is 8m ahead of the API server's", "✓ live")
        source.set_state(missing_permissions=("list events",))
        await wait_for_text(pilot, "Not allowed to list events", "The clock here is 8m ahead")
        source.set_state(missing_permissions=(), clock_warning="")
        await wait_for(pilot, lambda: "The clock" not in screen_text(app), "the sentence to go")


async def test_a_lost_server_keeps_the_list_and_says_since_when_it_is_stale():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(100, 24)) as pilot:
        await wait_for_text(pilot, "✓ live")
        source.set_state(
            phase=FakePhase.RETRYING,
            message="Connection refused by https://127.0.0.1:6443.",
            last_update_at=fakes.ago(seconds=32),
            stale_for=32.0,
        )
        await wait_for_text(
            pilot,
            "stale 32s, retrying",
            "Connection refused",
            "02:59:28",
            "ctrl+r",
            "llama-70b-chat",
        )
        await pilot.press("ctrl+r")
        assert source.retry_count == 1
        source.set_state(phase=FakePhase.LIVE, message="", stale_for=None)
        await wait_for(
            pilot,
            lambda: "✓ live" in screen_text(app) and "refused" not in screen_text(app),
            "the sentence to go",
        )


async def test_an_unreachable_server_at_the_start_says_what_to_try():
    source = fakes.FakeSource(
        state=fakes.FakeState(FakePhase.RETRYING, "https://10.0.0.1:6443 does not answer."),
        context="",
    )
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(
            pilot, "10.0.0.1:6443 does not answer.", "servedeck keeps retrying", "ctrl+k"
        )


async def test_a_lost_server_is_named_on_every_screen_of_a_serving():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=FakeDetailService(deployment(), pod(FIRST_POD)))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        source.set_state(
            phase=FakePhase.RETRYING,
            message="Connection refused by https://127.0.0.1:6443.",
            last_update_at=fakes.ago(seconds=32),
            stale_for=32.0,
        )
        await wait_for_text(pilot, "✗ stale 32s, retrying")
        await pilot.press("t")
        await wait_for_text(pilot, "Timeline of", "✗ stale 32s, retrying")
        await pilot.press("escape", "d")
        await wait_for_text(pilot, "Name:       llama-70b-chat", "Last update: 02:59:28 UTC.")
        await pilot.press("escape", "enter")
        await wait_for_text(pilot, f"Pod team-a/{FIRST_POD}", "✗ stale 32s, retrying")
        source.set_state(phase=FakePhase.LIVE, message="", stale_for=None)
        await wait_for(pilot, lambda: "stale" not in screen_text(app), "the sentence to go")
