//! A diffusion transformer as a Meta Flow Map: v(s, u, x; t, x_t, label, guidance scale).

mod attention;
mod block;
mod config;
mod embeddings;
mod final_layer;
mod initial;
mod patches;
mod positions;

pub use config::{DitConfig, DitSize, Orientation};
pub use initial::{from_flow_model, from_scratch};

use self::block::{Block, Tokens};
use self::embeddings::TimeEmbedding;
use self::final_layer::FinalLayer;
use self::patches::PatchEmbedding;
use crate::layer::{Linear, Source};
use crate::module::Module;
use alloc::format;
use alloc::vec::Vec;
use mfm_core::tensor::Activation;
use mfm_core::{Device, Error, Lift, MetaFlowMap, Noise, Operations, Query, Result, Shape, Tensor};

/// v(s, u, x; t, x_t, label, guidance scale).
///
/// Tokens are patches of x, their positions, and patches of x_t, scaled and shifted by the time t of the state. The blocks are conditioned on the
/// sum of the embeddings of s, u, t and the label, those of the encoder on the guidance scale too; encoder and decoder embed s and u separately
/// (*Decoupled MeanFlow*). What belongs to a state is computed once for all of its draws. Parameters have the names of the reference model.
#[derive(Clone, Debug)]
pub struct Dit<T> {
    config: DitConfig,
    parts: Parts<T>,
    /// [tokens, hidden], on the host and on the device: a constant.
    position_values: Vec<f32>,
    positions: T,
    /// The frequencies of times: a constant.
    frequencies: T,
    /// Whether blocks are recomputed in the backward pass.
    recomputing: bool,
}

/// All that has parameters.
#[derive(Clone, Debug)]
struct Parts<T> {
    place: PatchEmbedding<T>,
    state: PatchEmbedding<T>,
    /// The scale and shift of the state's tokens, of its time.
    gate: Linear<T>,
    state_time: TimeEmbedding<T>,
    /// Of s and u, for the encoder and for the decoder.
    times: [[TimeEmbedding<T>; 2]; 2],
    /// [labels + 1, hidden]; the last row stands for "no label".
    labels: Option<T>,
    guidance: Option<T>,
    blocks: Vec<Block<T>>,
    last: FinalLayer<T>,
}

const PLACE: &str = "x_embedder.proj";
const STATE: &str = "x_cond_embedder.proj";
const GATE: &str = "x_cond_adaLN.1";
const STATE_TIME: &str = "t_cond_embedder";
const TIMES: [[&str; 2]; 2] = [["s_embedder", "t_embedder"], ["s_embedder_second", "t_embedder_second"]];
const LABELS: &str = "y_embedder.embedding_table.weight";
const GUIDANCE: &str = "guidance_embedder.embedding_table.weight";
const LAST: &str = "final_layer";

impl<T: Tensor> Parts<T> {
    fn build<E: From<Error>>(config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let hidden = config.hidden;
        let mut time = |name| TimeEmbedding::build(name, config, source);
        let state_time = time(STATE_TIME)?;
        let [[a, b], [c, d]] = TIMES;
        let times = [[time(a)?, time(b)?], [time(c)?, time(d)?]];
        let mut table = |name, rows: usize| match rows {
            0 => Ok(None),
            _ => source(name, Shape::new(&[rows, hidden])?).map(Some),
        };
        let labels = table(LABELS, if config.labels == 0 { 0 } else { config.labels + 1 })?;
        let guidance = table(GUIDANCE, config.guidance.len())?;
        let place = PatchEmbedding::build(PLACE, config, source)?;
        let state = PatchEmbedding::build(STATE, config, source)?;
        let gate = Linear::build(GATE, hidden, 2 * hidden, source)?;
        // Grown one by one: the source ends this early if the depth is a lie.
        let mut blocks = Vec::new();
        for i in 0..config.depth {
            blocks.push(Block::build(&format!("blocks.{i}"), config, source)?);
        }
        Ok(Self { place, state, gate, state_time, times, labels, guidance, blocks, last: FinalLayer::build(LAST, config, source)? })
    }

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        self.state_time.visit(STATE_TIME, f);
        for (name, embedding) in TIMES.iter().flatten().zip(self.times.iter().flatten()) {
            embedding.visit(name, f);
        }
        for (name, table) in [(LABELS, &self.labels), (GUIDANCE, &self.guidance)] {
            if let Some(table) = table {
                f(name, table);
            }
        }
        self.place.visit(PLACE, f);
        self.state.visit(STATE, f);
        self.gate.visit(GATE, f);
        for (i, block) in self.blocks.iter().enumerate() {
            block.visit(&format!("blocks.{i}"), f);
        }
        self.last.visit(LAST, f);
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Parts<U>> {
        let state_time = self.state_time.rebuild(STATE_TIME, next)?;
        let mut time = |i: usize, j: usize| self.times[i][j].rebuild(TIMES[i][j], next);
        let times = [[time(0, 0)?, time(0, 1)?], [time(1, 0)?, time(1, 1)?]];
        let labels = self.labels.as_ref().map(|table| next(LABELS, table)).transpose()?;
        let guidance = self.guidance.as_ref().map(|table| next(GUIDANCE, table)).transpose()?;
        let place = self.place.rebuild(PLACE, next)?;
        let state = self.state.rebuild(STATE, next)?;
        let gate = self.gate.rebuild(GATE, next)?;
        let blocks = self.blocks.iter().enumerate();
        let blocks = blocks.map(|(i, block)| block.rebuild(&format!("blocks.{i}"), next)).collect::<Result<Vec<_>>>()?;
        Ok(Parts { place, state, gate, state_time, times, labels, guidance, blocks, last: self.last.rebuild(LAST, next)? })
    }
}

/// The conditioning of encoder and decoder, and the tokens of the states.
struct Conditioning<T> {
    /// SiLU of the embeddings, [1 or states or rows, hidden].
    encoder: T,
    decoder: T,
    /// [states, tokens, hidden]
    state: T,
}

impl<T: Tensor> Dit<T> {
    /// A fresh network ([`from_scratch`]).
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, config: &DitConfig, noise: &Noise) -> Result<Self> {
        Self::build(config, &mut from_scratch(device, noise))
    }

    /// A network of the parameters that `source` gives for their names and shapes.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and those of `source`.
    pub fn build<E: From<Error>>(config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        config.check()?;
        let parts = Parts::build(config, source)?;
        Ok(Self::assemble(config.clone(), parts, positions::positions(config)?, false)?)
    }

    fn assemble(config: DitConfig, parts: Parts<T>, position_values: Vec<f32>, recomputing: bool) -> Result<Self> {
        let device = parts.gate.weight.device();
        let positions = device.from_slice(&position_values, Shape::new(&[config.tokens(), config.hidden])?)?;
        let frequencies = embeddings::frequencies(&device)?;
        Ok(Self { config, parts, position_values, positions, frequencies, recomputing })
    }

    /// The network's form.
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    /// The same network, whose gradients keep only the input of each block and run its forward pass again: memory for time. The results are the
    /// same.
    #[must_use]
    pub fn recomputing(self, recomputing: bool) -> Self {
        Self { recomputing, ..self }
    }

    /// The positions of the patches, [tokens, hidden]: a constant, which checkpoints hold as `pos_embed`.
    pub fn positions(&self) -> &[f32] {
        &self.position_values
    }

    /// A flow time as the network counts it.
    fn oriented(&self, time: &T) -> Result<T> {
        match self.config.orientation {
            Orientation::NoiseAtZero => Ok(time.clone()),
            Orientation::DataAtZero => time.neg()?.shift(1.0),
        }
    }

    fn condition(&self, query: &Query<'_, T>, draws: usize) -> Result<Conditioning<T>> {
        let (parts, config) = (&self.parts, &self.config);
        let hidden = config.hidden;
        let time = parts.state_time.apply(&embeddings::features(&query.t, &self.frequencies)?)?;
        let label = embeddings::label(parts.labels.as_ref(), config, query.condition.labels)?;
        let guidance = embeddings::guidance(parts.guidance.as_ref(), config, query.condition.guidance)?;
        let plus = |sum: &T, term: &Option<T>| term.as_ref().map_or_else(|| Ok(sum.clone()), |term| sum.add(term));
        let of_state = plus(&time, &label)?;
        let times = [
            embeddings::features(&self.oriented(&query.s)?, &self.frequencies)?,
            embeddings::features(&self.oriented(&query.u)?, &self.frequencies)?,
        ];
        let embed = |[s, u]: &[TimeEmbedding<T>; 2], of_state: &T| -> Result<T> {
            let of_row = s.apply(&times[0])?.add(&u.apply(&times[1])?)?;
            let (rows, states) = (of_row.shape().batch(), of_state.shape().batch());
            let sum = if rows > 1 && states > 1 && rows != states {
                // A state's draws are its rows.
                let of_row = of_row.reshape(Shape::new(&[states, draws, hidden])?)?;
                of_row.add(&of_state.reshape(Shape::new(&[states, 1, hidden])?)?)?.reshape(Shape::new(&[rows, hidden])?)?
            } else {
                of_row.add(of_state)?
            };
            sum.activate(Activation::Silu)
        };
        let [encoder, decoder] = &parts.times;
        let (encoder, decoder) = (embed(encoder, &plus(&of_state, &guidance)?)?, embed(decoder, &of_state)?);

        let gate = parts.gate.apply(&time.activate(Activation::Silu)?, Activation::Identity)?;
        let [shift, scale] = block::parts(&gate, hidden)?;
        let state = parts.state.apply(config, &query.x_t)?.mul(&scale.shift(1.0)?)?.add(&shift.add(&self.positions)?)?;
        Ok(Conditioning { encoder, decoder, state })
    }

    /// A conditioning of one batch with that of the other part of the network, so that tokens are grouped in one way only.
    fn grouped(conditioning: &T, groups: usize) -> Result<T> {
        let shape = conditioning.shape();
        if shape.batch() == groups { Ok(conditioning.clone()) } else { conditioning.broadcast(shape.with_batch(groups)?) }
    }
}

impl<T: Tensor> MetaFlowMap<T> for Dit<T> {
    /// # Errors
    /// [`Error::Shape`] or [`Error::Length`] if the query does not fit, [`Error::Index`] for a label above the number of labels,
    /// [`Error::Range`] for a guidance scale that the network does not know, [`Error::Unsupported`] for labels or a scale to a network
    /// without.
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        let (config, draws) = (&self.config, query.draws()?);
        let shape = query.x.shape();
        if shape.item() != config.data() {
            let images = Shape::new(&[shape.batch(), config.channels, config.side, config.side])?;
            return Err(Error::Shape { op: "dit", left: shape, right: images });
        }
        let (rows, states) = (shape.batch(), query.x_t.shape().batch());
        if rows == 0 {
            return Ok(query.x.clone());
        }
        let (tokens, hidden) = (config.tokens(), config.hidden);
        let Conditioning { encoder, decoder, state } = self.condition(query, draws)?;
        let groups = encoder.shape().batch().max(decoder.shape().batch());
        let (encoder, decoder) = (Self::grouped(&encoder, groups)?, Self::grouped(&decoder, groups)?);
        let tokens = Tokens { rows: Shape::new(&[rows, tokens, hidden])?, groups: Shape::new(&[groups, rows / groups * tokens, hidden])? };

        let place = self.parts.place.apply(config, &query.x)?.reshape(Shape::new(&[states, draws, config.tokens(), hidden])?)?;
        let state = state.reshape(Shape::new(&[states, 1, config.tokens(), hidden])?)?;
        let mut x = place.add(&state)?.reshape(tokens.groups)?;
        for (i, block) in self.parts.blocks.iter().enumerate() {
            let conditioning = if i < config.encoder { &encoder } else { &decoder };
            x = if self.recomputing {
                block.recompute(config, &x, conditioning, tokens)
            } else {
                block.apply(config, &x, conditioning, tokens)
            }?;
        }
        let velocity = patches::assemble(config, &self.parts.last.apply(config, &x, &decoder)?, shape)?;
        match config.orientation {
            Orientation::NoiseAtZero => Ok(velocity),
            Orientation::DataAtZero => velocity.neg(),
        }
    }
}

impl<T: Tensor> Module<T> for Dit<T> {
    type Over<U: Tensor> = Dit<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        self.parts.visit(f);
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Dit<U>> {
        Dit::assemble(self.config.clone(), self.parts.rebuild(next)?, self.position_values.clone(), self.recomputing)
    }
}

impl<T: Tensor> Lift<T> for Dit<T> {
    type Lifted<U: Tensor> = Dit<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Dit<U>> {
        self.rebuild(&mut |_, tensor| carry(tensor))
    }
}
