# To source in each shell, in this folder: . ./env.sh
export DAGSTER_HOME="$PWD"
# `dagster asset materialize` and `dagster dev` open with a warning that `dg` supersedes them, and a
# selection with a plus makes the parser of selections warn of its own libraries.
export PYTHONWARNINGS=ignore:::click.core,ignore:::dagster._core.definitions.antlr_asset_selection.antlr_asset_selection
