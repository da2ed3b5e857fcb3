//! A multi-layer perceptron as a Meta Flow Map: v(s, u, x; t, x_t, label).

use crate::layer::{Linear, Source, fresh};
use crate::module::Module;
use alloc::format;
use alloc::vec::Vec;
use mfm_core::tensor::Activation;
use mfm_core::{Device, Error, Lift, MetaFlowMap, Noise, Operations, Query, Result, Shape, Tensor, memory};
use serde::{Deserialize, Serialize};

/// The form of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MlpConfig {
    /// The number of numbers in one item of data, at least 1.
    pub data: usize,
    /// The width of the hidden layers, at least 1.
    pub width: usize,
    /// The number of hidden layers, at least 1.
    pub depth: usize,
    /// K: each time enters as itself, sin πkt and cos πkt for k = 1 … K; at least 1.
    pub frequencies: usize,
    /// The number of labels, 0 for a network without. A further label, of this number, stands for "none".
    pub labels: usize,
    /// Whether a fresh network's last layer is zero.
    pub zero_output: bool,
}

impl MlpConfig {
    /// The network of the paper's 2D experiment, for data of any dimension: four hidden layers of 256, eight frequencies, no labels.
    pub fn new(data: usize) -> Self {
        Self { data, width: 256, depth: 4, frequencies: 8, labels: 0, zero_output: false }
    }

    /// The number of features of the three times: 3 (1 + 2K).
    fn time_features(&self) -> usize {
        self.frequencies.saturating_mul(6).saturating_add(3)
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        let fields = [
            ("the network's data dimension", self.data),
            ("the network's width", self.width),
            ("the network's depth", self.depth),
            ("the network's number of frequencies", self.frequencies),
        ];
        for (what, value) in fields {
            // Far beyond any use, and sums of a few such numbers cannot overflow.
            if value == 0 || value > 1 << 24 {
                return Err(Error::Range { what, value: value as f64, range: "between 1 and 16777216" });
            }
        }
        if self.labels > 1 << 24 {
            return Err(Error::Range { what: "the network's number of labels", value: self.labels as f64, range: "at most 16777216" });
        }
        Ok(())
    }
}

/// v(s, u, x; t, x_t, label): the features of s, u and t, the place x and the state x_t enter `depth` hidden layers of `width` with
/// SiLU; a linear layer gives the velocity. The embedding of a label is added before the first non-linearity.
///
/// The first layer is one linear map of [times (3 (1 + 2K)), x, x_t]; the features of the times are
/// [s, u, t, sin πks, sin πku, sin πkt, cos πks, cos πku, cos πkt]. It is split by input wherever inputs are shared by several rows (a
/// time of shape `[1]`, one state for many draws), so that what is shared is computed once and broadcast.
/// Weights are [out, in]. Source: the 2D experiment of the reference benchmark.
#[derive(Clone, Debug)]
pub struct Mlp<T> {
    config: MlpConfig,
    /// πk, k = 1 … K: a constant.
    frequencies: T,
    first: Linear<T>,
    /// [labels + 1, width]; the last row stands for "no label".
    labels: Option<T>,
    hidden: Vec<Linear<T>>,
    output: Linear<T>,
}

impl<T: Tensor> Mlp<T> {
    /// A fresh network; see [`fresh`] for the distribution. `config.zero_output` sets its last layer to zero.
    ///
    /// The weights of x and x_t are uniform in ±1/√(their own number): with all the features of the times as their fan-in, low-dimensional data would hardly be
    /// seen, and a network spend its first thousand steps as a linear one.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, config: &MlpConfig, noise: &Noise) -> Result<Self> {
        let zeros: &[&str] = if config.zero_output { &["output."] } else { &[] };
        let mut network = Self::build(config, &mut fresh(device, noise, zeros))?;
        let (times, places) = (config.time_features(), 2 * config.data);
        let ratio = libm::sqrt((times + places) as f64 / places as f64);
        let mut columns = memory::filled("a fresh network", 1.0, times + places)?;
        columns[times..].fill(ratio);
        let columns = device.from_slice(&columns, Shape::new(&[1, times + places])?)?;
        network.first.weight = network.first.weight.mul(&columns)?;
        Ok(network)
    }

    /// A network of the parameters that `source` gives for their names and shapes.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and those of `source`.
    pub fn build<E: From<Error>>(config: &MlpConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        config.check()?;
        let MlpConfig { data, width, depth, labels, .. } = *config;
        let first = Linear::build("first", config.time_features() + 2 * data, width, source)?;
        let labels = if labels == 0 { None } else { Some(source("labels.weight", Shape::new(&[labels + 1, width])?)?) };
        // Grown one by one: the source ends this early if the depth is a lie.
        let mut hidden = Vec::new();
        for i in 1..depth {
            hidden.push(Linear::build(&format!("hidden.{i}"), width, width, source)?);
        }
        let output = Linear::build("output", width, data, source)?;
        let frequencies = frequencies(&first.weight.device(), config.frequencies)?;
        Ok(Self { config: config.clone(), frequencies, first, labels, hidden, output })
    }

    /// The network's form.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    /// The features of the times, [n, 3], [n, 3K], [n, 3K], where n is 1, the number of states or the number of rows.
    fn times(&self, query: &Query<'_, T>, draws: usize) -> Result<[T; 3]> {
        let (s, u, t) = (&query.s, &query.u, &query.t);
        let count = |time: &T| time.shape().elements();
        let per_row = count(s).max(count(u));
        let n = if per_row > 1 { per_row } else { count(t) };
        let z = if n == 1 {
            T::concat(&[s, u, t], 0)?
        } else {
            let column = |time: &T, repeats: usize| -> Result<T> {
                let stretched = if count(time) == 1 { time.broadcast(Shape::new(&[n])?)? } else { time.repeat_items(repeats)? };
                stretched.reshape(Shape::new(&[n, 1])?)
            };
            T::concat(&[&column(s, 1)?, &column(u, 1)?, &column(t, if per_row > 1 { draws } else { 1 })?], 1)?
        };
        let angles = z.reshape(Shape::new(&[n, 3, 1])?)?.mul(&self.frequencies)?;
        let angles = angles.reshape(Shape::new(&[n, 3 * self.config.frequencies])?)?;
        let sines = angles.unary(mfm_core::tensor::Unary::Sin)?;
        Ok([z.reshape(Shape::new(&[n, 3])?)?, sines, angles.unary(mfm_core::tensor::Unary::Cos)?])
    }

    /// The embeddings of the labels, [1, width] or [states, width].
    fn embedding(&self, query: &Query<'_, T>) -> Result<Option<T>> {
        match (&self.labels, query.condition.labels) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::Unsupported { op: "mlp", what: "this network knows no labels" }),
            (Some(table), None) => table.slice(0, self.config.labels, 1).map(Some),
            (Some(table), Some(labels)) => table.gather(0, labels).map(Some),
        }
    }

    /// What enters the layers, [rows, ..], and the first of them, if it is yet to come.
    fn enter(&self, query: &Query<'_, T>) -> Result<(T, Option<Linear<T>>)> {
        let draws = query.draws()?;
        let shape = query.x.shape();
        if shape.item() != self.config.data {
            return Err(Error::Shape { op: "mlp", left: shape, right: Shape::new(&[shape.batch(), self.config.data])? });
        }
        let (rows, states) = (shape.batch(), query.x_t.shape().batch());
        let data = self.config.data;
        let times = self.times(query, draws)?;
        let x = query.x.reshape(Shape::new(&[rows, data])?)?;
        let x_t = query.x_t.reshape(Shape::new(&[states, data])?)?;

        // What each row has of its own is one product; what all share is a bias; what the draws of a state share is added to both.
        let mut own: Vec<&T> = Vec::with_capacity(5);
        let mut shared = Shared { width: self.config.width, bias: self.first.bias.clone(), per_state: None };
        let (own_times, own_states) = (times[0].shape().batch() == rows, states == rows);
        let all = self.config.time_features() + 2 * data;
        let (before, after) = (if own_times { 0 } else { self.config.time_features() }, if own_states { 0 } else { data });
        let mut columns = Vec::with_capacity(3);
        columns.extend([before, all - before - after, after].into_iter().filter(|&count| count > 0));
        let mut weights = self.first.weight.split(1, &columns)?.into_iter();
        let mut next = || weights.next().ok_or(Error::Length { op: "mlp", expected: columns.len(), found: 0 });
        if own_times {
            own.extend(&times);
        } else {
            let [z, sines, cosines] = &times;
            shared.project(&T::concat(&[z, sines, cosines], 1)?, &next()?)?;
        }
        own.push(&x);
        let weight = next()?;
        if own_states {
            own.push(&x_t);
        } else {
            shared.project(&x_t, &next()?)?;
        }
        if let Some(embedding) = self.embedding(query)? {
            shared.add(embedding)?;
        }
        let joined = if let [one] = own[..] { one.clone() } else { T::concat(&own, 1)? };
        let Some(per_state) = shared.per_state else { return Ok((joined, Some(Linear { weight, bias: shared.bias }))) };
        let width = self.config.width;
        let flat = joined.linear(&weight, Some(&shared.bias), Activation::Identity)?;
        let sum = flat.reshape(Shape::new(&[states, draws, width])?)?.add(&per_state.reshape(Shape::new(&[states, 1, width])?)?)?;
        Ok((sum.activate(Activation::Silu)?.reshape(Shape::new(&[rows, width])?)?, None))
    }
}

/// πk for k = 1 … `count`.
pub(crate) fn frequencies<D: Device>(device: &D, count: usize) -> Result<D::Tensor> {
    let values: Vec<f64> = (1..=count).map(|k| core::f64::consts::PI * k as f64).collect();
    device.from_slice(&values, Shape::new(&[count])?)
}

/// The part of the first layer that several rows share.
struct Shared<T> {
    width: usize,
    /// What all rows share, [width].
    bias: T,
    /// What the draws of a state share, [states, width].
    per_state: Option<T>,
}

impl<T: Tensor> Shared<T> {
    /// Adds x Wᵀ for x of [1, in] or [states, in].
    fn project(&mut self, x: &T, weight: &T) -> Result<()> {
        if x.shape().batch() == 1 {
            let bias = x.linear(weight, Some(&self.bias), Activation::Identity)?;
            self.bias = bias.reshape(Shape::new(&[self.width])?)?;
            return Ok(());
        }
        self.add(x.linear(weight, None, Activation::Identity)?)
    }

    /// Adds a term of [1, width] or [states, width].
    fn add(&mut self, term: T) -> Result<()> {
        if term.shape().batch() == 1 {
            self.bias = self.bias.add(&term.reshape(Shape::new(&[self.width])?)?)?;
            return Ok(());
        }
        self.per_state = Some(match self.per_state.take() {
            Some(sum) => sum.add(&term)?,
            None => term,
        });
        Ok(())
    }
}

impl<T: Tensor> MetaFlowMap<T> for Mlp<T> {
    /// # Errors
    /// [`Error::Shape`] or [`Error::Length`] if the query does not fit, [`Error::Index`] for a label above the number of labels,
    /// [`Error::Unsupported`] for labels to a network without, or a guidance scale.
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        if query.condition.guidance.is_some() {
            return Err(Error::Unsupported { op: "mlp", what: "this network takes no guidance scale" });
        }
        let (x, first) = self.enter(query)?;
        let rest = self.hidden.iter().chain([&self.output]);
        let layers = first.iter().chain(rest).map(|layer| (&layer.weight, &layer.bias));
        x.layers(layers, Activation::Silu, Activation::Identity)?.reshape(query.x.shape())
    }
}

impl<T: Tensor> Module<T> for Mlp<T> {
    type Over<U: Tensor> = Mlp<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        self.first.visit("first", f);
        if let Some(labels) = &self.labels {
            f("labels.weight", labels);
        }
        for (i, layer) in self.hidden.iter().enumerate() {
            layer.visit(&format!("hidden.{}", i + 1), f);
        }
        self.output.visit("output", f);
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Mlp<U>> {
        let first = self.first.rebuild("first", next)?;
        let labels = self.labels.as_ref().map(|table| next("labels.weight", table)).transpose()?;
        let hidden = self.hidden.iter().enumerate();
        let hidden = hidden.map(|(i, layer)| layer.rebuild(&format!("hidden.{}", i + 1), next)).collect::<Result<Vec<_>>>()?;
        let output = self.output.rebuild("output", next)?;
        let frequencies = frequencies(&first.weight.device(), self.config.frequencies)?;
        Ok(Mlp { config: self.config.clone(), frequencies, first, labels, hidden, output })
    }
}

impl<T: Tensor> Lift<T> for Mlp<T> {
    type Lifted<U: Tensor> = Mlp<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Mlp<U>> {
        self.rebuild(&mut |_, tensor| carry(tensor))
    }
}
