"""What Sacred's users rely on without its being written down."""

from __future__ import annotations

from capture import Experiment


def test_the_last_heartbeat_comes_behind_the_last_numbers():
    """Sacred's MongoDB observer notes in `log_metrics` what its next heartbeat stores."""
    told = []

    class Observer:
        def log_metrics(self, metrics_by_name, info):
            told.append(("numbers", metrics_by_name["loss"]["values"]))

        def heartbeat_event(self, info, captured_out, beat_time, result):
            told.append(("heartbeat", result))

    ex = Experiment("order", observers=[Observer()])

    @ex.main
    def main(_run):
        for value in range(3):
            _run.log_scalar("loss", value)
        return 8

    ex.run()
    assert told[-1] == ("heartbeat", 8)
    assert [value for kind, values in told if kind == "numbers" for value in values] == [0, 1, 2]


def test_the_stock_commands_are_among_those_gathered():
    """Frameworks list them so."""
    ex = Experiment("commands", observers=[])
    ex.main(lambda: 1)
    names = [name for name, _ in ex.gather_commands()]
    assert names[1:] == ["print_config", "print_dependencies", "save_config", "print_named_configs"]
    assert list(ex.get_commands()) == names


def test_a_command_of_ones_own_takes_the_place_of_a_stock_one(capsys):
    """In the help as well as in the run."""
    ex = Experiment("commands", observers=[])

    @ex.command(unobserved=True)
    def print_config():
        """Print it my way."""
        return "mine"

    assert ex.run("print_config").result == "mine"
    ex.run_commandline("script.py help print_config")
    assert "Print it my way." in capsys.readouterr().out
