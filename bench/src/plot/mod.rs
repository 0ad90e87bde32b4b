//! `plot`: the curves of runs, drawn from their JSON lines. Which there are stands in `curves`, how one looks in `chart`.

mod chart;
mod curves;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use self::chart::Chart;
use crate::command::Failure;
use crate::report::Line;
use crate::server::ServerError;

/// What `plot` takes.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// JSON lines, as `--json` appends them
    #[arg(value_name = "FILE")]
    lines: PathBuf,
    /// Where the drawings go, an SVG each
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Draws every chart that the lines have points for, and prints the names of the files.
///
/// # Errors
/// The lines are none, or have nothing to draw: exit code 2; a file can't be written: 1.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let lines = Line::read_all(&arguments.lines)?;
    let charts = curves::charts(&lines);
    if charts.is_empty() {
        let path = arguments.lines.display();
        return Err(Failure::usage(format!("{path}: no line has a curve with two points or more")));
    }
    fs::create_dir_all(&arguments.directory).map_err(failed(&arguments.directory))?;
    for chart in charts {
        let path = arguments.directory.join(format!("{}.svg", chart.name));
        fs::write(&path, draw(&chart)?).map_err(failed(&path))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn draw(chart: &Chart) -> Result<String, Failure> {
    chart.to_svg().map_err(|words| Failure::failed(format!("{}: {words}", chart.name)))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let of_file = ServerError::of_file(path);
    move |error| Failure::failed(of_file(error))
}
