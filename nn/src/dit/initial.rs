//! Where training starts.

use crate::layer::{Source, join, uniform};
use mfm_core::{Device, Error, Noise, Operations, Result, Shape};

/// The parts that are zero in a fresh network: gates, modulations, and the output.
const ZERO: [&str; 3] = ["adaLN_modulation", "x_cond_adaLN", "final_layer.linear"];
/// The deviation of embeddings.
const DEVIATION: f64 = 0.02;

/// A source of fresh parameters, as Peebles and Xie draw them: modulations, gates, the output and all biases zero, the embeddings of times,
/// labels and guidance N(0, 0.02²), every other weight uniform in ±√(6/(fan_in + fan_out)). Parameter i comes from `noise.fork(i)`.
pub fn from_scratch<'a, D: Device>(device: &'a D, noise: &'a Noise) -> impl FnMut(&str, Shape) -> Result<D::Tensor> + 'a {
    let mut index = 0;
    move |name, shape| {
        index += 1;
        fresh(device, &noise.fork(index - 1), name, shape)
    }
}

fn fresh<D: Device>(device: &D, noise: &Noise, name: &str, shape: Shape) -> Result<D::Tensor> {
    if name.contains("_norm.weight") {
        return device.full(1.0, shape);
    }
    if name.ends_with("bias") || ZERO.iter().any(|part| name.contains(part)) {
        return device.zeros(shape);
    }
    if name.contains("embedder.mlp") || name.contains("embedder_second.mlp") || name.contains("embedding_table") {
        return device.normal(noise, shape)?.scale(DEVIATION);
    }
    // The weight of q, k and v is one matrix of three; each is drawn by its own size.
    let outputs = if name.ends_with("qkv.weight") { shape.batch() / 3 } else { shape.batch() };
    uniform(device, noise, libm::sqrt(6.0 / (shape.item() + outputs) as f64), shape)
}

/// A source that starts a Meta Flow Map from a flow model of the same sizes, whose parameters `flow` gives by the names of a diffusion
/// transformer (`t_embedder`, `y_embedder`, `x_embedder`, `blocks`, `final_layer`).
///
/// The encoder sees s and the decoder u through the flow model's embedding of time; everything that the flow model does not know adds zero. So
/// v_{s,s}(x; t, x_t) is the flow model's velocity at (s, x), whatever the state, and jumps are those of *Decoupled MeanFlow*.
pub fn from_flow_model<'a, D: Device, E: From<Error>>(
    device: &'a D,
    noise: &'a Noise,
    flow: &'a mut Source<'a, D::Tensor, E>,
) -> impl FnMut(&str, Shape) -> Result<D::Tensor, E> + 'a {
    let mut index = 0;
    move |name, shape| {
        // Every parameter has the number that it has in a network from scratch.
        index += 1;
        if let Some(rest) = name.strip_prefix("s_embedder.").or_else(|| name.strip_prefix("t_embedder_second.")) {
            return flow(&join("t_embedder", rest), shape);
        }
        let silent = ["t_embedder.mlp.2", "s_embedder_second.mlp.2", "t_cond_embedder.mlp.2", "x_cond_embedder", "guidance_embedder"];
        if silent.iter().any(|part| name.starts_with(part)) {
            return Ok(device.zeros(shape)?);
        }
        let own = ["t_embedder.mlp.0", "s_embedder_second.mlp.0", "t_cond_embedder.mlp.0", "x_cond_adaLN"];
        if own.iter().any(|part| name.starts_with(part)) {
            return Ok(fresh(device, &noise.fork(index - 1), name, shape)?);
        }
        flow(name, shape)
    }
}
