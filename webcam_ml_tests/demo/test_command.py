import argparse

from webcam_ml.demo import add_demo_data_command


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_demo_data_command(parser.add_subparsers())
    return parser.parse_args(["demo-data", *arguments])


def test_the_command_makes_a_demo_and_says_what_there_is(tmp_path, capsys):
    arguments = parse(
        *("--folder", str(tmp_path / "demo"), "--webcams", "10", "--snapshots", "30"),
        *("--image-width", "64", "--raters", "2", "--unrated", "0.2", "--seed", "5"),
    )
    assert arguments.run(arguments) == 0
    said = capsys.readouterr().out
    assert "Demo data made" in said
    assert "10 webcams, 30 rated snapshots" in said
    assert str(tmp_path / "demo" / "labels.sqlite") in said
    assert arguments.run(arguments) == 0
    assert "Demo data unchanged: 0 pictures drawn" in capsys.readouterr().out
