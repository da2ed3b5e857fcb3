//! Transformers in safetensors files, under the parameter names of the reference model, `model.dit.blocks.0.attn.qkv.weight` and so on.
//!
//! Published `.pt` checkpoints are converted by three lines of Python:
//!
//! ```python
//! import torch, safetensors.torch
//! weights = torch.load("checkpoint.pt", map_location="cpu", weights_only=True)
//! safetensors.torch.save_file({"model.dit." + name: tensor.contiguous() for name, tensor in weights.items()}, "checkpoint.safetensors")
//! ```
//!
//! where `weights` may have to be an entry of what was loaded (`["ema"]`, say), and the prefix be left out if the names have it already.

use super::header::check_guidance;
use super::{FileError, Jumps, ModelHeader, Provenance};
use crate::dit::{Dit, DitConfig, Orientation, from_flow_model};
use crate::module::Module;
use ::safetensors::{Dtype, SafeTensors, View};
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str::FromStr;
use mfm_core::{Device, Noise, Shape, Tensor};
use std::collections::HashMap;

/// What the reference's parameter names begin with.
pub const PREFIX: &str = "model.dit.";

/// The name of the fixed positions, which a file holds and a network computes.
const POSITIONS: &str = "pos_embed";
/// By how much they may differ: by another library's sines, and half a unit in the last place of a number of this type below 1.
fn position_tolerance(dtype: Dtype) -> f64 {
    let rounding = match dtype {
        Dtype::F16 => 1.0 / 4096.0,
        Dtype::BF16 => 1.0 / 512.0,
        _ => 0.0,
    };
    1e-5 + rounding
}

/// What the shapes of the tensors do not tell of a transformer. Files that this library writes have it in their metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct DitExtras {
    /// The number of attention heads.
    pub heads: usize,
    /// The number of blocks of the encoder.
    pub encoder: usize,
    /// The guidance scales, the first of which is 1.
    pub guidance: Vec<f64>,
    /// The orientation of time.
    pub orientation: Orientation,
}

impl DitExtras {
    const ORIENTATIONS: [(&str, Orientation); 2] = [("noise-at-zero", Orientation::NoiseAtZero), ("data-at-zero", Orientation::DataAtZero)];

    fn of(config: &DitConfig) -> Self {
        let DitConfig { heads, encoder, guidance, orientation, .. } = config.clone();
        Self { heads, encoder, guidance, orientation }
    }

    fn read(metadata: &HashMap<String, String>) -> Option<Self> {
        let text = |key: &str| metadata.get(key).map(String::as_str);
        let guidance = text("guidance")?.split(',').filter(|scale| !scale.is_empty()).map(|scale| scale.parse().ok());
        let (_, orientation) = Self::ORIENTATIONS.into_iter().find(|(name, _)| text("orientation") == Some(name))?;
        Some(Self {
            heads: text("heads")?.parse().ok()?,
            encoder: text("encoder")?.parse().ok()?,
            guidance: guidance.collect::<Option<_>>()?,
            orientation,
        })
    }

    fn write(&self) -> HashMap<String, String> {
        let orientation = Self::ORIENTATIONS.iter().find(|(_, orientation)| *orientation == self.orientation);
        let guidance: Vec<String> = self.guidance.iter().map(f64::to_string).collect();
        [
            ("heads", self.heads.to_string()),
            ("encoder", self.encoder.to_string()),
            ("guidance", guidance.join(",")),
            ("orientation", orientation.map(|(name, _)| name.to_string()).unwrap_or_default()),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into()
    }
}

/// What [jumps](Jumps) are called in metadata.
const JUMPS: [(&str, Jumps); 3] = [("trained", Jumps::Trained), ("untrained", Jumps::Untrained), ("left-behind", Jumps::LeftBehind)];

/// A safetensors file in memory.
#[derive(Debug)]
pub struct SafetensorsFile<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

fn foreign(what: impl ToString) -> FileError {
    FileError::Safetensors { message: what.to_string() }
}

impl<'a> SafetensorsFile<'a> {
    /// Reads and checks the header; all tensors lie within the bytes.
    ///
    /// # Errors
    /// [`FileError::Safetensors`] if it is not one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(foreign)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(foreign)?;
        let metadata = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Self { tensors, metadata })
    }

    /// What the shapes do not tell, if the metadata has it.
    pub fn extras(&self) -> Option<DitExtras> {
        DitExtras::read(&self.metadata)
    }

    /// Takes into a header what the metadata has of the model's path, of the scale by which it is guided already, of its jumps, and of where it comes from.
    ///
    /// # Errors
    /// [`FileError::Safetensors`], naming the key, for what is no number or no kind of jumps, [`FileError::Tensor`] for a scale out of range.
    pub fn recall(&self, header: &mut ModelHeader) -> Result<(), FileError> {
        fn read<V: FromStr>(key: &str, text: &str) -> Result<V, FileError> {
            text.parse().map_err(|_| foreign(format!("{text:?} is no {key}")))
        }
        let text = |key: &str| self.metadata.get(key).map(String::as_str);
        let take = |key: &str, value: &mut String| text(key).into_iter().for_each(|text| *value = text.into());
        take("interpolant", &mut header.model.interpolant);
        take("objective", &mut header.provenance.objective);
        take("data", &mut header.provenance.data);
        for (key, value) in [("steps", &mut header.provenance.steps), ("seed", &mut header.provenance.seed)] {
            *value = text(key).map_or(Ok(*value), |text| read(key, text))?;
        }
        header.guided_by = text("guided_by").map(|text| read("guided_by", text)).transpose()?;
        if let Some(text) = text("jumps") {
            let known = JUMPS.into_iter().find(|(name, _)| *name == text);
            header.jumps = known.ok_or_else(|| foreign(format!("{text:?} are no jumps")))?.1;
        }
        check_guidance(header.guided_by)
    }

    /// The first name, in alphabetical order, that does not begin with `prefix`.
    pub fn outside(&self, prefix: &str) -> Option<&str> {
        self.tensors.names().into_iter().filter(|name| !name.starts_with(prefix)).min()
    }

    fn shape(&self, name: &str) -> Result<Shape, FileError> {
        let view = self.tensors.tensor(name).map_err(|_| FileError::Missing { tensor: name.to_string() })?;
        Ok(Shape::new(view.shape())?)
    }

    /// The form of the transformer whose names begin with `prefix`, from the shapes of its tensors.
    ///
    /// # Errors
    /// [`FileError::Missing`] or [`FileError::TensorShape`], naming the tensor; [`FileError::Tensor`] if the sizes are impossible.
    pub fn config(&self, prefix: &str, extras: &DitExtras) -> Result<DitConfig, FileError> {
        let shape = |name: &str| self.shape(&format!("{prefix}{name}"));
        let (patches, positions) = (shape("x_embedder.proj.weight")?, shape(POSITIONS)?);
        let wrong = |name: &str, found| FileError::TensorShape { tensor: format!("{prefix}{name}"), expected: Shape::SCALAR, found };
        let &[hidden, channels, patch, _] = patches.axes() else {
            return Err(wrong("x_embedder.proj.weight", patches));
        };
        // Of this very shape, so that the file holds as many as it claims.
        let tokens = match *positions.axes() {
            [1, tokens, width] if width == hidden => tokens,
            _ => return Err(wrong(POSITIONS, positions)),
        };
        let grid = tokens.isqrt();
        if grid * grid != tokens {
            return Err(foreign(format!("{prefix}{POSITIONS} has {tokens} positions, which is no square")));
        }
        let depth = (0..).find(|i| shape(&format!("blocks.{i}.attn.qkv.weight")).is_err()).unwrap_or(0);
        // These too: a tensor without columns claims any number of rows.
        let rows = |name: &str, found: Shape| match *found.axes() {
            [rows, width] if width == hidden => Ok(rows),
            _ => Err(wrong(name, found)),
        };
        let (inner, table) = ("blocks.0.mlp.fc1.weight", "y_embedder.embedding_table.weight");
        let wide = rows(inner, shape(inner)?)?;
        let labels = shape(table).map_or(Ok(0), |found| rows(table, found))?.saturating_sub(1);
        let config = DitConfig {
            encoder: extras.encoder,
            expansion: wide.checked_div(hidden).unwrap_or(0),
            labels,
            guidance: extras.guidance.clone(),
            normalised_attention: shape("blocks.0.attn.q_norm.weight").is_ok(),
            orientation: extras.orientation,
            ..DitConfig::custom([hidden, depth, extras.heads], channels, grid.saturating_mul(patch), patch)
        };
        config.check()?;
        Ok(config)
    }

    /// The numbers of a tensor of this shape, all of them finite.
    fn values(&self, name: &str, shape: Shape) -> Result<Vec<f64>, FileError> {
        let view = self.tensors.tensor(name).map_err(|_| FileError::Missing { tensor: name.to_string() })?;
        if view.shape() != shape.axes() {
            return Err(FileError::TensorShape { tensor: name.to_string(), expected: shape, found: Shape::new(view.shape())? });
        }
        let values = numbers(view.dtype(), view.data())
            .ok_or_else(|| foreign(format!("the tensor {name} holds {:?}, not numbers of 16 to 64 bits", view.dtype())))?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(foreign(format!("the tensor {name} is NaN or infinite at element {index}"))),
            None => Ok(values),
        }
    }

    /// The transformer whose names begin with `prefix`.
    ///
    /// # Errors
    /// [`FileError::Missing`], [`FileError::TensorShape`] or [`FileError::Unknown`], naming the tensor; [`FileError::Safetensors`] for numbers that
    /// are not finite, or positions that are not the fixed ones.
    pub fn to_dit<D: Device>(&self, device: &D, prefix: &str, config: &DitConfig) -> Result<Dit<D::Tensor>, FileError> {
        self.build(device, prefix, |source| Dit::build(config, source))
    }

    /// A Meta Flow Map that starts from the flow model whose names begin with `prefix` ([`from_flow_model`]). What is new comes from `noise`.
    ///
    /// # Errors
    /// As [`to_dit`](Self::to_dit).
    pub fn to_dit_from_flow_model<D: Device>(
        &self,
        device: &D,
        prefix: &str,
        config: &DitConfig,
        noise: &Noise,
    ) -> Result<Dit<D::Tensor>, FileError> {
        self.build(device, prefix, |source| Dit::build(config, &mut from_flow_model(device, noise, source)))
    }

    fn build<D: Device>(
        &self,
        device: &D,
        prefix: &str,
        make: impl FnOnce(&mut dyn FnMut(&str, Shape) -> Result<D::Tensor, FileError>) -> Result<Dit<D::Tensor>, FileError>,
    ) -> Result<Dit<D::Tensor>, FileError> {
        let mut used = BTreeSet::new();
        let network = make(&mut |name, shape| {
            let name = format!("{prefix}{name}");
            let tensor = device.from_slice(&self.values(&name, shape)?, shape)?;
            used.insert(name);
            Ok(tensor)
        })?;
        let (name, config) = (format!("{prefix}{POSITIONS}"), network.config());
        let positions = self.values(&name, Shape::new(&[1, config.tokens(), config.hidden])?)?;
        let tolerance = self.tensors.tensor(&name).map_or(0.0, |view| position_tolerance(view.dtype()));
        let far = |(own, found): (&f32, &f64)| (f64::from(*own) - found).abs() > tolerance;
        if let Some(index) = network.positions().iter().zip(&positions).position(far) {
            return Err(foreign(format!("{name} differs from the fixed sine-cosine positions at element {index}")));
        }
        used.insert(name);
        let unknown = self.tensors.names().into_iter().filter(|name| name.starts_with(prefix) && !used.contains(*name)).min();
        match unknown {
            Some(name) => Err(FileError::Unknown { tensor: name.to_string() }),
            None => Ok(network),
        }
    }
}

/// The numbers of 16 to 64 bits in the bytes of a tensor; `None` for a type that holds none.
pub fn numbers(kind: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    Some(match kind {
        Dtype::F64 => bytes.as_chunks().0.iter().map(|word| f64::from_le_bytes(*word)).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect(),
        Dtype::BF16 => {
            bytes.as_chunks().0.iter().map(|word| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16))).collect()
        }
        Dtype::F16 => bytes.as_chunks().0.iter().map(|word| half(u16::from_le_bytes(*word))).collect(),
        _ => return None,
    })
}

/// A half-precision number: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    let magnitude = match exponent {
        0 => libm::ldexp(fraction, -14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => libm::ldexp(1.0 + fraction, exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// A tensor to be written, in single precision.
struct Written {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Written {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a safetensors file of a transformer, in single precision, the names beginning with `prefix`; its metadata has what the shapes do not tell, and
/// what [`SafetensorsFile::recall`] takes of the header.
///
/// # Errors
/// [`FileError::Tensor`] if a tensor cannot be read back, [`FileError::Safetensors`] if the file would be too long.
pub fn write_dit<T: Tensor>(network: &Dit<T>, prefix: &str, header: &ModelHeader) -> Result<Vec<u8>, FileError> {
    let written = |shape: &[usize], values: &[f32]| Written {
        shape: shape.to_vec(),
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let config = network.config();
    let positions = written(&[1, config.tokens(), config.hidden], network.positions());
    let mut all = alloc::vec![(format!("{prefix}{POSITIONS}"), positions)];
    for (name, tensor) in network.parameters() {
        all.push((format!("{prefix}{name}"), written(tensor.shape().axes(), &tensor.to_vec::<f32>()?)));
    }
    let mut metadata = DitExtras::of(config).write();
    let Provenance { steps, seed, objective, data, library } = &header.provenance;
    let jumps = JUMPS.iter().find(|(_, jumps)| *jumps == header.jumps);
    let more = [
        ("interpolant", header.model.interpolant.clone()),
        ("jumps", jumps.map(|(name, _)| name.to_string()).unwrap_or_default()),
        ("steps", steps.to_string()),
        ("seed", seed.to_string()),
        ("objective", objective.clone()),
        ("data", data.clone()),
        ("library", library.clone()),
    ];
    metadata.extend(more.map(|(key, value)| (key.to_string(), value)));
    metadata.extend(header.guided_by.map(|scale| ("guided_by".to_string(), scale.to_string())));
    ::safetensors::serialize(all, Some(metadata)).map_err(foreign)
}
