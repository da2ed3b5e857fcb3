//! Models: immutable, shared between threads.

use crate::backend::{AnyDevice, Backend};
use crate::bridge::ffi::{Architecture, Info, Place};
use crate::failure::{Code, Failure, Result};
use crate::guard::guard;
use crate::session::{AnySession, Run, Session};
use mfm_core::error::Number;
use mfm_core::{Noise, Shape, Tensor};
use mfm_nn::file::{self, Jumps, write_model};
use mfm_nn::layer::settled;
use mfm_nn::{Coordinates, GaussianConfig, MlpConfig, ModelConfig, ModelFile, ModelHeader, Module, SavedModel};
use std::ops::Deref;
use std::sync::Arc;

/// A model on some device.
pub struct Model(Arc<dyn AnyModel>);

// What cxx does not check: the handle may be shared.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
};

/// A model, whichever its device.
trait AnyModel: Send + Sync {
    fn header(&self) -> &ModelHeader;
    fn parameters(&self) -> usize;
    fn device(&self) -> String;
    fn bytes(&self) -> Result<Vec<u8>>;
    fn open(self: Arc<Self>, threads: usize, stream: usize) -> Result<Box<dyn AnySession>>;
}

/// A model on a device.
pub struct Loaded<B: Backend> {
    /// The device.
    pub backend: B,
    saved: SavedModel<B::Tensor>,
}

impl<B: Backend> Deref for Loaded<B> {
    type Target = SavedModel<B::Tensor>;

    fn deref(&self) -> &SavedModel<B::Tensor> {
        &self.saved
    }
}

impl<B: Backend> Loaded<B> {
    /// A model with what a file of it says.
    ///
    /// # Errors
    /// [`Code::Unsupported`] for a number whose values `float` does not tell apart.
    pub fn new(backend: B, saved: SavedModel<B::Tensor>) -> Result<Self> {
        let coordinates = saved.coordinates();
        if let Some(k) = coordinates.beyond_single() {
            let (mean, scale) = (Number(coordinates.mean()[k]), Number(coordinates.scale()[k]));
            let sentence = format!(
                "number {k} of an item has the mean {mean} and the deviation {scale}, which float does not hold: subtract a constant from it"
            );
            return Err(Failure::new(Code::Unsupported, sentence));
        }
        Ok(Self { backend, saved })
    }

    fn parse(backend: B, bytes: &[u8]) -> Result<Self> {
        let mut saved = SavedModel::of(&ModelFile::parse(bytes)?, &backend)?;
        saved.header.provenance.steps = saved.header.steps_made();
        saved.header.training = None;
        Self::new(backend, saved)
    }

    /// The handle to it.
    pub fn handle(self) -> Box<Model> {
        Box::new(Model(Arc::new(self)))
    }
}

/// The same network on another device, its weights laid out as those of a file are.
///
/// # Errors
/// Whatever the devices report.
pub fn moved<B: Backend>(network: &mfm_nn::Model<B::Tensor>, device: &B) -> mfm_core::Result<mfm_nn::Model<B::Tensor>> {
    network.rebuild(&mut |_, tensor: &B::Tensor| settled(&device.from_slice(&B::host(tensor)?, tensor.shape())?))
}

impl<B: Backend> AnyModel for Loaded<B> {
    fn header(&self) -> &ModelHeader {
        &self.header
    }

    fn parameters(&self) -> usize {
        self.model.parameter_count()
    }

    fn device(&self) -> String {
        self.backend.name()
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        Ok(write_model(&self.model, &self.header, None)?)
    }

    fn open(self: Arc<Self>, threads: usize, stream: usize) -> Result<Box<dyn AnySession>> {
        let device = self.backend.for_session(threads, stream)?;
        Ok(Box::new(Run { loaded: self, device, stream }))
    }
}

/// The model of a file's bytes.
fn parse(device: AnyDevice, bytes: &[u8]) -> Result<Box<Model>> {
    Ok(match device {
        AnyDevice::Cpu(device) => Loaded::parse(device, bytes)?.handle(),
        AnyDevice::Cuda(device) => Loaded::parse(device, bytes)?.handle(),
    })
}

/// The path of a file, which the system could take.
fn path_of(bytes: &[u8]) -> Result<&str> {
    if bytes.is_empty() {
        return Err(Failure::new(Code::File, "the path is empty"));
    }
    if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Failure::new(Code::File, format!("the path has a zero byte at {place}, where the system would take it to end")));
    }
    std::str::from_utf8(bytes).map_err(|_| Failure::new(Code::File, "the path is not UTF-8"))
}

/// Loads a file.
pub(crate) fn load_model(path: &[u8], place: &Place<'_>) -> Result<Box<Model>> {
    guard(|| {
        let (path, device) = (path_of(path)?, AnyDevice::open(place)?);
        parse(device, &file::load(path)?).map_err(|failure| failure.at(path))
    })
}

/// Loads the bytes of a file.
pub(crate) fn load_model_from_memory(bytes: &[u8], place: &Place<'_>) -> Result<Box<Model>> {
    guard(|| parse(AnyDevice::open(place)?, bytes))
}

/// A fresh model.
pub(crate) fn create_model(architecture: &Architecture, data: &[f32], place: &Place<'_>) -> Result<Box<Model>> {
    guard(|| {
        let &Architecture { dimension, width, depth, frequencies, labels, seed, raw } = architecture;
        let network = MlpConfig { width, depth, frequencies, labels, ..MlpConfig::new(dimension) };
        network.check()?;
        let mut coordinates = Coordinates::default();
        if !data.is_empty() {
            rows(data.len(), dimension, "the data")?;
            finite(data, dimension, "the data")?;
            if !raw {
                coordinates = Coordinates::of_data(data, dimension)?;
            }
        }
        match AnyDevice::open(place)? {
            AnyDevice::Cpu(device) => fresh(device, network, coordinates, data, seed),
            AnyDevice::Cuda(device) => fresh(device, network, coordinates, data, seed),
        }
    })
}

fn fresh<B: Backend>(device: B, network: MlpConfig, coordinates: Coordinates, data: &[f32], seed: u64) -> Result<Box<Model>> {
    let dimension = network.data;
    let (mut config, mut mean) = (ModelConfig::mlp(network), Vec::new());
    if !data.is_empty() {
        let (gaussian, centre) = GaussianConfig::of_data(&coordinates.enter_rows(data)?, dimension)?;
        config = config.preconditioned(gaussian);
        mean = centre;
    }
    let shape = Shape::new(&[dimension])?;
    let network = mfm_nn::Model::new(&device, &config, &mean, &Noise::new(seed).fork(0))?;
    let mut header = ModelHeader::new(config, shape);
    header.coordinates = coordinates;
    header.provenance.seed = seed;
    header.provenance.library = file::LIBRARY.into();
    Ok(Loaded::new(device, SavedModel::new(network, header)?)?.handle())
}

/// How many rows of `dimension` numbers there are.
///
/// # Errors
/// [`Code::Length`] unless they are whole, [`Code::Empty`] if there are none.
pub fn rows(length: usize, dimension: usize, what: &str) -> Result<usize> {
    if length == 0 {
        return Err(Failure::new(Code::Empty, format!("{what}: there are no items")));
    }
    if dimension == 0 || !length.is_multiple_of(dimension) {
        return Err(Failure::new(Code::Length, format!("{what}: {length} numbers are no whole number of items of {dimension}")));
    }
    Ok(length / dimension)
}

/// Checks that all numbers are finite.
///
/// # Errors
/// [`Code::NotFinite`], with the place.
pub fn finite(values: &[f32], dimension: usize, what: &str) -> Result<()> {
    all(values, dimension, f32::is_finite, what)
}

/// Checks that all numbers are such as `may` be, which NaN never may.
///
/// # Errors
/// As [`finite`].
pub fn all(values: &[f32], dimension: usize, may: fn(f32) -> bool, what: &str) -> Result<()> {
    match values.iter().position(|value| !may(*value)) {
        None => Ok(()),
        Some(i) => {
            let (item, number) = (i / dimension.max(1), i % dimension.max(1));
            Err(Failure::new(Code::NotFinite, format!("{what}: number {number} of item {item} is {}", values[i])))
        }
    }
}

impl Model {
    pub(crate) fn info(&self) -> Result<Info> {
        guard(|| {
            let header = self.0.header();
            let from = &header.provenance;
            Ok(Info {
                dimension: header.model.network.data(),
                labels: header.labels(),
                parameters: self.0.parameters(),
                training_steps: from.steps,
                seed: from.seed,
                path: header.model.interpolant.clone(),
                objective: from.objective.clone(),
                data: from.data.clone(),
                device: self.0.device(),
                guidance: header.model.network.guidance().to_vec(),
                mean: header.coordinates.mean().to_vec(),
                scale: header.coordinates.scale().to_vec(),
                // In the order of `mfm_jumps`.
                jumps: match header.jumps {
                    Jumps::Trained => 0,
                    Jumps::Untrained => 1,
                    Jumps::LeftBehind => 2,
                },
            })
        })
    }

    pub(crate) fn save(&self, path: &[u8]) -> Result<()> {
        guard(|| Ok(file::save(path_of(path)?, &self.0.bytes()?)?))
    }

    pub(crate) fn save_to_memory(&self) -> Result<Vec<u8>> {
        guard(|| self.0.bytes())
    }

    pub(crate) fn open(&self, threads: usize, stream: usize) -> Result<Box<Session>> {
        guard(|| Ok(Box::new(Session::new(Arc::clone(&self.0).open(threads, stream)?))))
    }
}
