//! Linear-Gaussian inverse problems on images: what was observed, and how.

use super::Formula;
use super::operator::{Operator, Padding};
use crate::data::{self, LabelColumn};
use crate::failure::{Failure, Result};
use mfm_core::{Device, Noise, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;
use std::path::{Path, PathBuf};

/// The widest blur, in pixels.
const WIDEST: f64 = 64.0;

/// An inverse problem as the command line gives it; no file is read yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Inverse {
    /// How an image is observed.
    pub measurement: Measurement,
    /// The file of the observation, or of clean images; `digits` for the digits.
    pub path: PathBuf,
    /// The clean image, counted from 1, of which the observation is made; `None` if the file holds the observation itself.
    pub row: Option<usize>,
    /// The noise's deviation σ.
    pub sigma: f64,
}

/// How an image is observed.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    /// Without a rectangle of pixels: top, left, height, width.
    Outside([usize; 4]),
    /// Where the numbers of a file, one for each pixel or each number of a sample, are above 0.
    Where(PathBuf),
    /// Through a Gaussian blur of this width.
    Blur(f64, Padding),
}

impl Inverse {
    /// The files that MASK:IMAGE:SIGMA may name, or WIDTH,PADDING:IMAGE:SIGMA.
    pub(super) fn files(text: &str) -> Vec<&str> {
        let parts = text.split_once(':').and_then(|(how, rest)| Some((how, rest.rsplit_once(':')?.0)));
        parts.map_or(Vec::new(), |(how, image)| vec![how, image, image.rsplit_once('@').map_or(image, |(path, _)| path)])
    }

    /// The problem that `how:image:sigma` describes; `kind` is inpaint or blur.
    pub(super) fn parse(kind: &str, text: &str) -> Result<Self, String> {
        let form = match kind {
            "blur" => "blur:WIDTH,PADDING:IMAGE:SIGMA",
            _ => "inpaint:MASK:IMAGE:SIGMA",
        };
        let parts = text.split_once(':').and_then(|(how, rest)| Some((how, rest.rsplit_once(':')?)));
        let (how, (image, sigma)) = parts.ok_or_else(|| format!("it must be {form}"))?;
        let positive = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite());
        let sigma = positive(sigma).ok_or_else(|| format!("sigma is {sigma:?}, but must be positive"))?;
        let measurement = match kind {
            "blur" => {
                let (width, padding) = how.split_once(',').ok_or_else(|| format!("it must be {form}"))?;
                let padding = match padding.trim() {
                    "zero" => Padding::Zero,
                    "circular" => Padding::Circular,
                    other => return Err(format!("the padding is {other:?}, but must be zero or circular")),
                };
                let width = positive(width).filter(|width| *width <= WIDEST);
                Measurement::Blur(width.ok_or_else(|| format!("the width must be above 0, and at most {WIDEST}"))?, padding)
            }
            _ => {
                let numbers: Option<Vec<usize>> = how.split(',').map(|number| number.trim().parse().ok()).collect();
                match numbers {
                    None if how.is_empty() => return Err(format!("it must be {form}")),
                    None => Measurement::Where(how.into()),
                    Some(numbers) => {
                        let found = numbers.len();
                        let rectangle =
                            numbers.try_into().map_err(|_| format!("a rectangle is TOP,LEFT,HEIGHT,WIDTH, and not {found} numbers"))?;
                        Measurement::Outside(rectangle)
                    }
                }
            }
        };
        let (path, row) = match image.rsplit_once('@') {
            Some((path, row)) => match row.parse() {
                Ok(row) if row > 0 => (path, Some(row)),
                _ => return Err(format!("the row {row:?} of {path} must be a number, counted from 1")),
            },
            None => (image, None),
        };
        match path {
            "" => Err(format!("it must be {form}")),
            "digits" if row.is_none() => Err("of the digits, say which by digits@ROW".into()),
            _ => Ok(Self { measurement, path: path.into(), row, sigma }),
        }
    }

    /// The reward −|A x − y|²/(2σ²) for samples of `dimension`, and the clean image if it is known. Where the observation is made here, `noise` is its noise.
    ///
    /// # Errors
    /// One sentence naming the file.
    pub(super) fn formula(&self, dimension: usize, noise: &Noise) -> Result<(Formula, Option<Vec<f32>>)> {
        let images = if self.path.as_os_str() == "digits" { data::digits()? } else { data::load(&self.path, LabelColumn::None)? };
        images.expect_dimension(dimension, "the model")?;
        let fail = |what: String| Failure::input(format!("{}: {what}", images.source));
        let index = match self.row {
            Some(row) if row > images.len() => return Err(fail(format!("there is no row {row}, only {}", images.len()))),
            Some(row) => row - 1,
            None if images.len() > 1 => return Err(fail(format!("it holds {} rows; say which by @ROW", images.len()))),
            None => 0,
        };
        let image = images.row(index);
        let shape = images
            .image
            .or_else(|| data::square(dimension))
            .ok_or_else(|| fail(format!("{dimension} numbers are no square image of one channel or three")))?;
        let operator = self.operator(shape).map_err(|failure| failure.at(&images.source))?;
        let apply = || -> mfm_core::Result<Vec<f64>> {
            let image = CpuDevice::<f64>::new().from_slice(image, Shape::new(&[1, dimension])?)?;
            operator.apply(&image)?.to_vec()
        };
        let observed = match (self.row, &operator) {
            (None, Operator::Blur { .. }) => image.iter().map(|value| f64::from(*value)).collect(),
            (None, _) => apply()?,
            (Some(_), _) => {
                let clean = apply()?;
                let mut normal = vec![0.0; clean.len()];
                noise.fill_normal(&mut normal);
                clean.iter().zip(normal).map(|(value, normal)| value + self.sigma * normal).collect()
            }
        };
        let truth = self.row.map(|_| image.to_vec());
        Ok((Formula::Observation { operator, observed, sigma: self.sigma }, truth))
    }

    /// The operator on images of this shape.
    fn operator(&self, shape @ [channels, height, width]: [usize; 3]) -> Result<Operator> {
        let pixels = height * width;
        let is_seen: Box<dyn Fn(usize) -> bool> = match &self.measurement {
            Measurement::Blur(deviation, padding) => return Ok(Operator::blur(shape, *deviation, *padding)),
            &Measurement::Outside([top, left, high, wide]) => {
                if top.saturating_add(high) > height || left.saturating_add(wide) > width {
                    return Err(Failure::input(format!(
                        "the rectangle {top},{left},{high},{wide} reaches beyond its {width} × {height} pixels"
                    )));
                }
                Box::new(move |place| {
                    let (row, column) = (place % pixels / width, place % width);
                    !((top..top + high).contains(&row) && (left..left + wide).contains(&column))
                })
            }
            Measurement::Where(path) => {
                let mask = mask(path, channels, pixels)?;
                Box::new(move |place| mask[place % mask.len()] > 0.0)
            }
        };
        let places: Vec<usize> = (0..channels * pixels).filter(|place| is_seen(*place)).collect();
        if places.is_empty() {
            return Err(Failure::input("the mask hides every pixel"));
        }
        Ok(Operator::Select { dimension: channels * pixels, places })
    }
}

/// The numbers of a mask: one for each pixel, or for each pixel of each channel.
fn mask(path: &Path, channels: usize, pixels: usize) -> Result<Vec<f32>> {
    let mask = data::load(path, LabelColumn::None)?;
    let found = mask.rows.len();
    // A grey picture has one for each pixel; the rows of a table may be those of the image.
    if found == pixels || found == channels * pixels {
        return Ok(mask.rows);
    }
    Err(Failure::input(format!("{}: the mask has {found} numbers, but the image {pixels} pixels of {channels} channels", mask.source)))
}
