//! Where samples and other rows of numbers go: to a `.csv`, `.npy` or `.png` file, or as text to standard output.

use crate::context::Context;
use crate::data::{Row, Values, save_csv, save_npy, square};
use crate::failure::{Failure, Result};
use crate::output;
use crate::table::count;
use mfm_core::Tensor;
use mfm_picture::{Axis, BLUE, Figure, ImageGrid, Layer, ORANGE, Panel, Picture, UNSEEN};
use std::path::{Path, PathBuf};

/// Where samples go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Comma-separated text on standard output.
    Stdout,
    /// Comma-separated text.
    Csv(PathBuf),
    /// A NumPy array.
    Npy(PathBuf),
    /// A picture.
    Png(PathBuf),
}

/// What groups of equal size samples fall into.
#[derive(Clone, Copy, Debug)]
pub enum Groups<'a> {
    /// One.
    One,
    /// One for each of these states, whose numbers stand here row after row.
    States(&'a [f64]),
    /// One for each of these names.
    Named(&'a [&'a str]),
    /// One, with images that they are to be compared with, each under its name.
    Beside(&'a [(&'static str, Vec<f32>)]),
}

/// Samples in groups.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// What they are.
    pub title: &'a str,
    /// The numbers, row after row.
    pub rows: &'a Values,
    /// The numbers in a row.
    pub dimension: usize,
    /// The groups, one after another.
    pub groups: Groups<'a>,
}

impl Destination {
    /// A picture of samples of `dimension` at a path; checked to be writable.
    ///
    /// # Errors
    /// One sentence naming the path.
    pub fn picture(path: &Path, dimension: usize) -> Result<Self> {
        match Self::new(Some(path), dimension)? {
            Self::Png(path) => Ok(Self::Png(path)),
            _ => Err(Failure::input(format!("cannot draw {}: a picture is a .png file", path.display()))),
        }
    }

    /// The destination of a path, none for standard output, for samples of `dimension`; checked to be writable.
    ///
    /// # Errors
    /// One sentence naming the path.
    pub fn new(path: Option<&Path>, dimension: usize) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
        let is_device = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        let destination = match extension.as_str() {
            "csv" => Self::Csv(path.to_owned()),
            "npy" => Self::Npy(path.to_owned()),
            "png" if is_drawable(dimension) => Self::Png(path.to_owned()),
            "png" => {
                let why = format!("a picture needs one or two dimensions, or square images, and the data have {dimension} dimensions");
                return Err(Failure::input(format!("cannot draw {}: {why}", path.display())));
            }
            _ if is_device => Self::Csv(path.to_owned()),
            _ => return Err(Failure::input(format!("cannot write {}: results go to a .csv, .npy or .png file", path.display()))),
        };
        output::check(path)?;
        Ok(destination)
    }

    /// Whether samples go to standard output.
    pub fn is_stdout(&self) -> bool {
        *self == Self::Stdout
    }

    /// Writes the samples.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write<T: Tensor>(&self, context: &Context<T>, samples: &Samples<'_>) -> Result<()> {
        match self {
            Self::Stdout if context.stdout_is_json() => Ok(()),
            Self::Stdout => {
                let lines: Vec<String> = samples.rows.rows(samples.dimension).iter().map(Row::to_string).collect();
                context.print(lines.join("\n"))
            }
            Self::Csv(path) => save_csv(path, samples.rows, samples.dimension),
            Self::Npy(path) => save_npy(path, samples.rows, samples.dimension),
            Self::Png(path) => output::picture(path, &samples.draw()?),
        }
    }
}

/// The channels, height and width of square images of so many numbers, if these are no points.
fn image(dimension: usize) -> Option<[usize; 3]> {
    square(dimension).filter(|[_, side, _]| *side >= 3)
}

/// Whether samples of `dimension` can be drawn.
pub fn is_drawable(dimension: usize) -> bool {
    dimension <= 2 || image(dimension).is_some()
}

impl Samples<'_> {
    /// The groups of `rows`, each with its name and its state of `states`, empty where there is none.
    fn groups<'b, N>(&self, rows: &'b [N], states: &'b [N]) -> Vec<(String, &'b [N], &'b [N])> {
        let heads: Vec<(String, &[N])> = match self.groups {
            Groups::One | Groups::Beside(_) => vec![(String::new(), &[])],
            Groups::States(_) => {
                states.chunks_exact(self.dimension).enumerate().map(|(i, state)| (format!("state {}", i + 1), state)).collect()
            }
            Groups::Named(names) => names.iter().map(|name| ((*name).to_owned(), &[][..])).collect(),
        };
        let size = rows.len() / heads.len().max(1);
        heads.into_iter().zip(rows.chunks_exact(size.max(1))).map(|((name, state), rows)| (name, state, rows)).collect()
    }

    /// The numbers of the states, if there are any.
    fn states(&self) -> &[f64] {
        if let Groups::States(states) = self.groups { states } else { &[] }
    }

    /// A picture of the samples.
    ///
    /// # Errors
    /// None, if the dimension can be drawn.
    pub fn draw(&self) -> mfm_picture::Result<Picture> {
        match image(self.dimension) {
            Some([channels, side, _]) => self.images(channels, side).draw(),
            None => self.panels().draw(),
        }
    }

    fn images(&self, channels: usize, side: usize) -> ImageGrid {
        const ACROSS: usize = 10;
        const DOWN: usize = 16;
        let states: Vec<f32> = self.states().iter().map(|value| *value as f32).collect();
        let all = self.rows.single();
        let groups = self.groups(&all, &states);
        let each = |rows: &[f32]| rows.len() / self.dimension;
        let draws = groups.first().map_or(0, |(_, _, rows)| each(rows));
        let grid = |title: String| {
            let mut grid = ImageGrid::new(title, side).with_channels(channels);
            grid.range = grey_range(&all);
            grid
        };
        match self.groups {
            Groups::One => {
                let grid = grid(self.titled(ACROSS * DOWN, draws, "samples"));
                let rows = all.chunks(ACROSS * self.dimension).take(DOWN);
                rows.fold(grid, |grid, pixels| grid.with_row("", pixels.to_vec()))
            }
            Groups::Beside(given) => {
                let hides = given.iter().any(|(_, image)| image.contains(&UNSEEN));
                let title = self.titled(ACROSS * DOWN, draws, "samples") + if hides { "; pale blue: not observed" } else { "" };
                let grid = given.iter().fold(grid(title), |grid, (name, image)| grid.with_row(*name, image.clone()));
                let rows = all.chunks(ACROSS * self.dimension).take(DOWN).enumerate();
                rows.fold(grid, |grid, (k, pixels)| grid.with_row(if k == 0 { "samples" } else { "" }, pixels.to_vec()))
            }
            Groups::Named(names) => {
                let down = (DOWN / names.len().max(1)).clamp(1, 4);
                let grid = grid(self.titled(ACROSS * down, draws, "samples of each"));
                groups.into_iter().fold(grid, |grid, (name, _, rows)| {
                    let rows = rows.chunks(ACROSS * self.dimension).take(down).enumerate();
                    rows.fold(grid, |grid, (k, pixels)| grid.with_row(if k == 0 { name.as_str() } else { "" }, pixels.to_vec()))
                })
            }
            Groups::States(_) => {
                let grid = grid(self.titled(DOWN, groups.len(), "states") + &shown(ACROSS, draws, "draws of each"));
                let grid = grid.with_columns(["state", "draws"]).with_gap_after(1);
                groups.into_iter().take(DOWN).fold(grid, |grid, (name, state, draws)| {
                    let shown = draws.len().min(ACROSS * self.dimension);
                    grid.with_row(name, [state, &draws[..shown]].concat())
                })
            }
        }
    }

    /// The title, and how many of `all` are shown if these are not all.
    fn titled(&self, most: usize, all: usize, things: &str) -> String {
        self.title.to_owned() + &shown(most, all, things)
    }

    fn panels(&self) -> Figure {
        const MOST: usize = 9;
        let rows = self.rows.double();
        let groups = self.groups(&rows, self.states());
        let shown = &groups[..groups.len().min(MOST)];
        let axis = |name: &str, k: usize| {
            let all = shown.iter().flat_map(|(_, state, rows)| state.get(k).into_iter().chain(rows.iter().skip(k).step_by(self.dimension)));
            Axis::fit(name, all.copied())
        };
        let is_of_states = matches!(self.groups, Groups::States(_));
        let title = self.titled(MOST, groups.len(), if is_of_states { "states" } else { "groups" });
        let size = if groups.len() == 1 { (430, 440) } else { (360, 380) };
        let figure = Figure::new(title, groups.len().min(3)).with_panel_size(size.0, size.1);
        shown.iter().fold(figure, |figure, (title, state, draws)| {
            if self.dimension == 1 {
                let panel = histogram(title.clone(), axis("x", 0), draws);
                return figure.with(match state {
                    [x, ..] => {
                        let points = vec![[*x, panel.y.low], [*x, panel.y.high]];
                        panel.with_named("the state", Layer::Curve { points, colour: ORANGE, marked: false })
                    }
                    [] => panel,
                });
            }
            let points = |rows: &[f64]| rows.chunks_exact(2).map(|p| [p[0], p[1]]).collect::<Vec<_>>();
            let panel = Panel::new(title.clone(), axis("x₁", 0), axis("x₂", 1)).with_equal_units();
            let draws = Layer::points(points(draws), BLUE);
            figure.with(if state.is_empty() {
                panel.with(draws)
            } else {
                let state = Layer::Points { points: points(state), colour: ORANGE, radius: 4.0, opacity: 1.0 };
                panel.with_named("draws", draws).with_named("the state", state)
            })
        })
    }
}

/// How many of `all` things are shown, if these are not all.
fn shown(most: usize, all: usize, things: &str) -> String {
    if all <= most { String::new() } else { format!(", {} of {} {things}", count(most), count(all)) }
}

/// What is white and what is black: −1 and 1 where most pixels are between them, with what overshoots cut, else where most pixels are.
fn grey_range(pixels: &[f32]) -> (f32, f32) {
    let mut sorted = pixels.to_vec();
    sorted.sort_by(f32::total_cmp);
    let at = |share: usize| sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or(0.0);
    let (low, high) = (at(2), at(98));
    if low > -1.6 && high < 1.6 || low >= high { (-1.0, 1.0) } else { (low, high) }
}

/// The density of numbers as bars.
fn histogram(title: String, x: Axis, values: &[f64]) -> Panel {
    const BARS: usize = 40;
    let width = (x.high - x.low) / BARS as f64;
    let mut heights = vec![0.0; BARS];
    for &value in values {
        let bar = ((value - x.low) / width) as usize;
        heights[bar.min(BARS - 1)] += 1.0 / (values.len() as f64 * width);
    }
    let highest = heights.iter().copied().fold(0.0, f64::max);
    let bars = heights.into_iter().enumerate().map(|(i, height)| [x.low + (i as f64 + 0.5) * width, height]).collect();
    Panel::new(title, x, Axis::new("density", 0.0, 1.05 * highest)).with(Layer::Bars { bars, width, colour: BLUE })
}
