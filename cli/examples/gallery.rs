//! Draws one picture of each kind, to look at: `cargo run -p mfm-cli --example gallery -- DIR`.

use mfm_cli::output::{self, Directory};
use mfm_cli::{Result, data};
use mfm_picture::{Axis, BLUE, Figure, GREY, Grid, ImageGrid, Layer, ORANGE, Panel, RED, SERIES};
use std::path::Path;

fn main() -> Result<()> {
    let folder = Directory::create(Path::new(&std::env::args().nth(1).unwrap_or_else(|| "gallery".into())))?;
    let digits = data::digits()?;
    let grid = ImageGrid::new("Real digits", data::DIGIT_SIDE).with_columns(["state", "draw 1", "2", "3", "4"]).with_gap_after(1);
    let grid = (0..4)
        .fold(grid, |grid, row| grid.with_row(format!("t = 0.{row}"), (0..9).flat_map(|k| digits.row(9 * row + k)).copied().collect()));
    output::picture(&folder.file("digits.png"), &grid.draw()?)?;

    let mut normal = vec![0.0; 8192];
    mfm_core::Noise::new(1).fill_normal(&mut normal);
    let points: Vec<[f64; 2]> = normal
        .chunks_exact(2)
        .enumerate()
        .map(|(i, z)| [0.7 * z[0] + 3.0 * (i as f64 % 3.0 - 1.0), 0.7 * z[1] + 3.0 * (i as f64 % 3.0 - 1.0)])
        .collect();
    let axis = |name: &str| Axis::new(name, -6.0, 6.0);
    let places = (0..15 * 15).map(|k| [f64::from(k % 15) * 0.8 - 5.6, f64::from(k / 15) * 0.8 - 5.6]);
    let arrows = places.map(|[x, y]| ([x, y], [-x + y, -y])).collect();
    let figure = Figure::new("A gallery", 3)
        .with(
            Panel::new("Points", axis("x₁"), axis("x₂"))
                .with_named("model", Layer::points(points.clone(), BLUE))
                .with_named("exact", Layer::points(points.iter().take(300).map(|[x, y]| [-x, *y]).collect(), ORANGE)),
        )
        .with(
            Panel::new("Density and field, σ²/2 ∇V", axis("x₁"), axis("x₂"))
                .with(Layer::Density { points, colour: BLUE })
                .with(Layer::Arrows { arrows, colour: RED, scale: 0.15, width: 0.9 }),
        )
        .with({
            let panel = Panel::new("Curves", Axis::logarithmic("draws N", 1.0, 128.0), Axis::new("sliced W₂", 0.0, 1.0));
            let panel = ["MFM-G", "MFM-GF", "resampled"].into_iter().zip(SERIES).fold(panel, |panel, (name, colour)| {
                let height = f64::from(colour.0) / 200.0;
                let points = (0..8).map(|k| [f64::from(1 << k), height / f64::from(1 + k)]).collect();
                panel.with_named(name, Layer::curve(points, colour))
            });
            panel.with_named("floor", Layer::Level { height: 0.112, colour: GREY })
        })
        .with(Panel::new("Bars", Axis::named("class", (0..10).map(|k| k.to_string())), Axis::new("share", 0.0, 0.5)).with_named(
            "samples",
            Layer::Bars { bars: (0..10).map(|k| [f64::from(k), 0.07 * f64::from(k)]).collect(), width: 0.7, colour: BLUE },
        ))
        .with({
            let wave = |[x, y]: [f64; 2]| Ok::<_, mfm_picture::Error>((1.1 * x).sin() * (0.8 * y).cos());
            let bump = |[x, y]: [f64; 2]| Ok::<_, mfm_picture::Error>((-0.2 * (x * x + y * y - x * y)).exp());
            let (heat, bump) = (Grid::new(60, [-6.0; 2], [6.0; 2], wave)?, Grid::new(200, [-6.0; 2], [6.0; 2], bump)?);
            Panel::new("Heat, and outlines, under a title that needs more than one line", axis(""), axis(""))
                .with_equal_units()
                .with(Layer::Heat { grid: heat, colour: ORANGE })
                .with_named("50 % and 95 %", Layer::Outlines { grid: bump, shares: vec![0.5, 0.95], colour: BLUE })
        });
    output::picture(&folder.file("figure.png"), &figure.draw()?)
}
