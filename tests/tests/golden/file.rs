//! The reference's tensors, and which of them have been compared.

use mfm_core::{Device, Error, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::{Dit, DitConfig, Orientation};
use safetensors::{Dtype, SafeTensors};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The numbers of a tensor that is not in the file are missed by name.
#[allow(clippy::panic)]
fn missing(name: &str) -> ! {
    panic!("the file of reference tensors has no usable tensor {name}")
}

/// One comparison.
pub struct Row {
    pub name: String,
    pub error: f64,
}

pub struct Golden<'a> {
    tensors: SafeTensors<'a>,
    pub config: DitConfig,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Golden<'a> {
    pub fn parse(bytes: &'a [u8]) -> Self {
        let Ok(tensors) = SafeTensors::deserialize(bytes) else { missing("at all") };
        let golden = Self { tensors, config: DitConfig::custom([4, 1, 1], 1, 1, 1), used: RefCell::default() };
        let config = golden.read_config(bytes);
        Self { config, ..golden }
    }

    /// The configuration from the file's metadata; labels and guidance scales from its tensors.
    fn read_config(&self, bytes: &[u8]) -> DitConfig {
        let metadata = SafeTensors::read_metadata(bytes).ok().and_then(|(_, metadata)| metadata.metadata().clone());
        let text = metadata.and_then(|map| map.get("config").cloned()).unwrap_or_else(|| missing("metadata 'config'"));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| missing("metadata 'config'"));
        let number = |key: &str| json[key].as_u64().map_or_else(|| missing(key), |n| n as usize);
        let shape = |name: &str| self.shape(&format!("student.model.dit.{name}"));
        let mut scales: Vec<f64> = self.host("in.cfg_scale");
        scales.push(1.0);
        scales.sort_by(f64::total_cmp);
        scales.dedup();
        let hidden = number("hidden_size");
        DitConfig {
            encoder: number("encoder_depth"),
            expansion: shape("blocks.0.mlp.fc1.weight").batch() / hidden,
            labels: number("label_dim"),
            guidance: scales,
            normalised_attention: self.tensors.tensor("student.model.dit.blocks.0.attn.q_norm.weight").is_ok(),
            orientation: if json["is_zero_data"].as_bool() == Some(true) { Orientation::DataAtZero } else { Orientation::NoiseAtZero },
            ..DitConfig::custom(
                [hidden, number("depth"), number("num_heads")],
                number("in_channels"),
                number("input_size"),
                number("patch_size"),
            )
        }
    }

    pub fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    pub fn shape(&self, name: &str) -> Shape {
        let found = self.tensors.tensor(name).ok().and_then(|view| Shape::new(view.shape()).ok());
        found.unwrap_or_else(|| missing(name))
    }

    /// The numbers of a tensor.
    pub fn host(&self, name: &str) -> Vec<f64> {
        self.used.borrow_mut().insert(name.into());
        let Ok(view) = self.tensors.tensor(name) else { missing(name) };
        let words = view.data().chunks_exact(8).map(|word| <[u8; 8]>::try_from(word).unwrap_or_default());
        match view.dtype() {
            Dtype::F64 => words.map(f64::from_le_bytes).collect(),
            Dtype::I64 => words.map(|word| i64::from_le_bytes(word) as f64).collect(),
            _ => missing(name),
        }
    }

    pub fn labels(&self, name: &str) -> Vec<usize> {
        self.host(name).into_iter().map(|label| label as usize).collect()
    }

    /// A tensor on a device.
    pub fn tensor<D: Device>(&self, device: &D, name: &str) -> Result<D::Tensor> {
        device.from_slice(&self.host(name), self.shape(name))
    }

    /// One of the networks, its fixed positions compared.
    pub fn network<D: Device>(&self, device: &D, which: &str) -> Result<Dit<D::Tensor>> {
        let network = Dit::build::<Error>(&self.config, &mut |name, shape| {
            let name = format!("{which}.model.dit.{name}");
            let found = self.shape(&name);
            if found != shape {
                return Err(Error::Shape { op: "golden", left: found, right: shape });
            }
            self.tensor(device, &name)
        })?;
        let positions = self.host(&format!("{which}.model.dit.pos_embed"));
        assert!(network.positions().iter().map(|x| f64::from(*x)).eq(positions), "{which}: the positions differ");
        Ok(network)
    }

    /// Names that nobody has asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let mut unused: Vec<String> = self.names().into_iter().filter(|name| !used.contains(*name)).map(String::from).collect();
        unused.sort();
        unused
    }
}

/// What every comparison needs: the file, a device, and where errors are gathered.
pub struct Bench<'a, E: Real> {
    pub golden: &'a Golden<'a>,
    pub device: CpuDevice<E>,
    pub rows: RefCell<Vec<Row>>,
}

/// A precision.
pub trait Real: mfm_cpu_ref::Float {}
impl Real for f32 {}
impl Real for f64 {}

impl<'a, E: Real> Bench<'a, E> {
    pub fn new(golden: &'a Golden<'a>) -> Self {
        Self { golden, device: CpuDevice::new(), rows: RefCell::default() }
    }

    pub fn tensor(&self, name: &str) -> Result<CpuTensor<E>> {
        self.golden.tensor(&self.device, name)
    }

    pub fn network(&self, which: &str) -> Result<Dit<CpuTensor<E>>> {
        self.golden.network(&self.device, which)
    }

    /// The largest |found − expected| over the largest |expected|.
    pub fn compare(&self, name: &str, found: &CpuTensor<E>) -> Result<()> {
        self.compare_numbers(name, &found.to_vec()?)
    }

    pub fn compare_numbers(&self, name: &str, found: &[f64]) -> Result<()> {
        let expected = self.golden.host(name);
        if found.len() != expected.len() {
            return Err(Error::Length { op: "golden", expected: expected.len(), found: found.len() });
        }
        let scale = expected.iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, |worst: f64, x| {
            if x >= worst {
                x
            } else if x.is_nan() {
                f64::INFINITY
            } else {
                worst
            }
        });
        let error = if worst == 0.0 { 0.0 } else { worst / scale };
        self.rows.borrow_mut().push(Row { name: name.into(), error });
        Ok(())
    }
}
